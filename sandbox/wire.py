"""People, places and commands as Discord writes them in JSON, with every field that clients insist on."""

from sandbox.records import MIB, App, Channel, Command, Guild, Json, Member, Role, User
from sandbox.snowflakes import iso, seconds_of


def user(one: User) -> Json:
    return {
        "id": str(one.id),
        "username": one.username,
        "global_name": one.display_name,
        "discriminator": "0",
        "avatar": None,
        "banner": None,
        "accent_color": None,
        "public_flags": 0,
        "flags": 0,
        "bot": one.bot,
        "primary_guild": None,
    }


def member(one: Member, of: User) -> Json:
    """A membership with its user."""
    return {"user": user(of), **member_alone(one)}


def member_alone(one: Member) -> Json:
    """A membership without its user, as messages and resolved data carry it."""
    return {
        "roles": [str(role) for role in one.roles],
        "nick": None,
        "avatar": None,
        "banner": None,
        "joined_at": iso(seconds_of(one.id)),
        "premium_since": None,
        "communication_disabled_until": None,
        "pending": False,
        "flags": 0,
        "mute": False,
        "deaf": False,
    }


def role(one: Role, bot_id: int) -> Json:
    shown: Json = {
        "id": str(one.id),
        "name": one.name,
        "permissions": one.permissions,
        "position": one.position,
        "color": one.color,
        "colors": {"primary_color": one.color, "secondary_color": None, "tertiary_color": None},
        "hoist": one.color != 0,
        "managed": bool(one.kind),
        "mentionable": False,
        "icon": None,
        "unicode_emoji": None,
        "flags": 0,
    }
    if one.kind == "bot":
        shown["tags"] = {"bot_id": str(bot_id)}
    elif one.kind == "booster":
        shown["tags"] = {"premium_subscriber": None}
    return shown


def channel(one: Channel) -> Json:
    return {
        "id": str(one.id),
        "type": 0,
        "guild_id": str(one.guild_id),
        "name": one.name,
        "topic": one.topic,
        "position": one.position,
        "parent_id": None,
        "last_message_id": None,
        "rate_limit_per_user": 0,
        "nsfw": False,
        "flags": 0,
        "permission_overwrites": [
            {"id": str(over.id), "type": int(over.of_member), "allow": str(over.allow), "deny": str(over.deny)}
            for over in one.all_overwrites
        ],
    }


def guild(one: Guild, roles: list[Role], bot_id: int) -> Json:
    return {
        "id": str(one.id),
        "name": one.name,
        "owner_id": str(one.owner_id),
        "roles": [role(each, bot_id) for each in roles],
        "icon": None,
        "description": None,
        "home_header": None,
        "splash": None,
        "discovery_splash": None,
        "banner": None,
        "features": [],
        "application_id": None,
        "region": "deprecated",
        "afk_channel_id": None,
        "afk_timeout": 300,
        "system_channel_id": None,
        "system_channel_flags": 0,
        "widget_enabled": False,
        "widget_channel_id": None,
        "verification_level": 0,
        "default_message_notifications": 1,
        "mfa_level": 0,
        "explicit_content_filter": 0,
        "max_presences": None,
        "max_members": 500_000,
        "max_stage_video_channel_users": 50,
        "max_video_channel_users": 25,
        "vanity_url_code": None,
        "premium_tier": 3 if one.attachment_limit >= 100 * MIB else 2 if one.attachment_limit >= 50 * MIB else 0,
        "premium_subscription_count": 0,
        "premium_progress_bar_enabled": False,
        "preferred_locale": "en-US",
        "rules_channel_id": None,
        "safety_alerts_channel_id": None,
        "public_updates_channel_id": None,
        "nsfw": False,
        "nsfw_level": 0,
        "emojis": [],
        "stickers": [],
        "incidents_data": None,
    }


def application(one: App, bot: User, owner: User, guild_count: int) -> Json:
    return {
        "id": str(one.id),
        "name": one.name,
        "icon": None,
        "description": one.description,
        "type": None,
        "bot": user(bot),
        "bot_public": False,
        "bot_require_code_grant": False,
        "verify_key": "0" * 64,
        "flags": 0,
        "flags_new": "0",
        "redirect_uris": [],
        "interactions_endpoint_url": None,
        "role_connections_verification_url": None,
        "owner": user(owner),
        "team": None,
        "approximate_guild_count": guild_count,
        "approximate_user_install_count": 0,
        "approximate_user_authorization_count": 0,
        "explicit_content_filter": 0,
        "eligible_oauth2_scopes": ["bot", "applications.commands"],
    }


def command(one: Command, app_id: int) -> Json:
    shown: Json = {
        "id": str(one.id),
        "application_id": str(app_id),
        "version": str(one.version),
        "type": one.type,
        "name": one.name,
        **one.body,
    }
    if one.guild_id:
        shown["guild_id"] = str(one.guild_id)
    return shown
