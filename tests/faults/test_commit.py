"""The database is lost while it commits."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from auditspan_service.database.engine import make_engine
from auditspan_service.database.schema import upgrade
from faults.cutting import Moment, cutter
from faults.load import IN_DOUBT
from support.cluster import Cluster
from support.relaying import wait_for
from support.service import Caller, problem, running_service, settings_at


def migrated(url: str, folder: str) -> str:
    """The URL of the same database, which has the schema now, over the socket in `folder`."""
    engine = make_engine(url)
    upgrade(engine)
    engine.dispose()
    there = engine.url.update_query_dict({"host": folder})
    return there.render_as_string(hide_password=False)


def usernames(caller: Caller) -> list[str]:
    """The names of all users."""
    return [user["username"] for user in caller("GET", "/v1/users").get_json()["items"]]


@pytest.mark.parametrize(("moment", "made"), [("before", 0), ("after", 1)])
def test_lost_commit_is_answered_outcome_unknown(
    cluster: Cluster, tmp_path: Path, moment: Moment, made: int
) -> None:
    """Whether or not it was committed: 503, and a problem that says that nobody knows."""
    server = Path(str(cluster.url.query["host"]))
    with (
        cluster.database() as url,
        tempfile.TemporaryDirectory() as short,
        cutter(server, Path(short)) as cutting,
        running_service(settings_at(tmp_path, migrated(url, short))) as service,
    ):
        kim = service.caller()
        cutting.moment = moment
        answer = kim("POST", "/v1/users", json={"username": "lee"})
        cutting.moment = "never"
        document = problem(answer)
        assert (503, IN_DOUBT) == (document["status"], document["type"])
        assert int(answer.headers["Retry-After"]) > 0
        if made:  # the server commits what it was told, and nobody hears when
            wait_for(lambda: "lee" in usernames(kim))
        assert made == usernames(kim).count("lee")
        assert made == [event["target"]["id"] for event in kim.events()].count("2")
