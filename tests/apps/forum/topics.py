"""Forums, topics and posts. Saving commits, so that what comes after has expired parents."""

from __future__ import annotations

from flask import Blueprint, request
from flask.typing import ResponseReturnValue
from sqlalchemy import func, select, update

from apps.forum.members import require_user
from apps.forum.models import Forum, Post, Topic, User, db

topics = Blueprint("topics", __name__)


@topics.post("/forums")
def add_forum() -> ResponseReturnValue:
    """Open a forum."""
    require_user()
    return {"id": Forum(title=request.get_json()["title"]).save().id}, 201


@topics.get("/forums/<int:forum_id>")
def show_forum(forum_id: int) -> ResponseReturnValue:
    """The counters of a forum, and its topics."""
    forum = db.get_or_404(Forum, forum_id)
    return {
        "title": forum.title,
        "topics": [topic.id for topic in forum.topics],
        "topic_count": forum.topic_count,
        "post_count": forum.post_count,
        "last_post": forum.last_post and forum.last_post.content,
    }


@topics.post("/forums/<int:forum_id>/topics")
def add_topic(forum_id: int) -> ResponseReturnValue:
    """Begin a topic; the topic and its first post are saved one after the other."""
    given, user = request.get_json(), require_user()
    forum = db.get_or_404(Forum, forum_id)
    user.save()
    forum.save()
    topic = Topic(title=given["title"], forum=forum, user=user).save()
    forum.topic_count = Forum.topic_count + 1
    _post(topic, user, given["content"])
    return {"id": topic.id}, 201


@topics.get("/topics/<int:topic_id>")
def show_topic(topic_id: int) -> ResponseReturnValue:
    """The posts of a topic, which counts how often it is looked at."""
    topic = db.get_or_404(Topic, topic_id)
    topic.views = Topic.views + 1
    topic.save()
    return {
        "title": topic.title,
        "views": topic.views,
        "posts": [[post.content, post.user_id] for post in topic.posts],
    }


@topics.post("/topics/<int:topic_id>/posts")
def reply(topic_id: int) -> ResponseReturnValue:
    """Write a post; who writes follows the topic from then on."""
    user, topic = require_user(), db.get_or_404(Topic, topic_id)
    post = _post(topic, user, request.get_json()["content"])
    if topic not in user.tracked:
        user.tracked.append(topic)
        user.save()
    return {"id": post.id}, 201


@topics.patch("/posts/<int:post_id>")
def edit(post_id: int) -> ResponseReturnValue:
    """Change a post."""
    require_user()
    post = db.get_or_404(Post, post_id)
    post.content = request.get_json()["content"]
    post.save()
    return {"modified": post.modified is not None}


@topics.delete("/posts/<int:post_id>")
def remove_post(post_id: int) -> ResponseReturnValue:
    """Delete a post, and count again."""
    require_user()
    post = db.get_or_404(Post, post_id)
    forum, author = post.topic.forum, post.user
    if forum.last_post_id == post.id:
        forum.last_post = None
    post.delete()
    forum.post_count = Forum.post_count - 1
    if author is not None:
        author.post_count = User.post_count - 1
    db.session.commit()
    return "", 204


@topics.delete("/topics/<int:topic_id>")
def remove_topic(topic_id: int) -> ResponseReturnValue:
    """Delete a topic; its posts go with it in the database."""
    require_user()
    topic = db.get_or_404(Topic, topic_id)
    forum = topic.forum
    topic.delete()
    _count_again(forum)
    return "", 204


@topics.put("/topics/<int:topic_id>/forum")
def move_topic(topic_id: int) -> ResponseReturnValue:
    """Move a topic to another forum."""
    require_user()
    topic = db.get_or_404(Topic, topic_id)
    before, after = topic.forum, db.get_or_404(Forum, request.get_json()["forum"])
    topic.forum = after
    db.session.commit()
    _count_again(before)
    _count_again(after)
    return "", 204


@topics.delete("/forums/<int:forum_id>")
def remove_forum(forum_id: int) -> ResponseReturnValue:
    """Close a forum; its topics are deleted object by object."""
    require_user()
    forum = db.get_or_404(Forum, forum_id)
    forum.last_post = None
    forum.delete()
    db.session.execute(
        update(User).values(
            post_count=select(func.count(Post.id)).where(Post.user_id == User.id).scalar_subquery()
        )
    )
    db.session.commit()
    return "", 204


def _post(topic: Topic, user: User, content: str) -> Post:
    post = Post(topic=topic, user=user, content=content).save()
    forum = topic.forum
    forum.last_post = post
    forum.post_count = Forum.post_count + 1
    user.post_count = User.post_count + 1
    db.session.commit()
    return post


def _count_again(forum: Forum) -> None:
    """Set the counters by subqueries."""
    in_forum = select(func.count(Topic.id)).where(Topic.forum_id == forum.id)
    posts = select(func.count(Post.id)).join(Post.topic).where(Topic.forum_id == forum.id)
    last = select(func.max(Post.id)).join(Post.topic).where(Topic.forum_id == forum.id)
    forum.topic_count = in_forum.scalar_subquery()
    forum.post_count = posts.scalar_subquery()
    forum.last_post_id = last.scalar_subquery()
    db.session.commit()
