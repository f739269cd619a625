"""The errors that Discord answers with, each with its status, its number and its words."""

from sandbox.records import Json


class Refusal(Exception):  # noqa: N818 - it is an answer, not a fault of the server
    """A request that is refused: an HTTP status and Discord's error object."""

    def __init__(self, status: int, code: int, message: str, errors: Json | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.body: Json = {"message": message, "code": code}
        if errors:
            self.body["errors"] = errors


class SentenceError(Exception):
    """A refusal of the member and control APIs: one sentence for a person, and its HTTP status."""

    def __init__(self, sentence: str, status: int = 400) -> None:
        super().__init__(sentence)
        self.status = status


def unauthorized() -> Refusal:
    return Refusal(401, 0, "401: Unauthorized")


def bad_json() -> Refusal:
    return Refusal(400, 50109, "The request body contains invalid JSON.")


def too_large() -> Refusal:
    return Refusal(413, 40005, "Request entity too large")


def unknown_channel() -> Refusal:
    return Refusal(404, 10003, "Unknown Channel")


def unknown_guild() -> Refusal:
    return Refusal(404, 10004, "Unknown Guild")


def unknown_member() -> Refusal:
    return Refusal(404, 10007, "Unknown Member")


def unknown_message() -> Refusal:
    return Refusal(404, 10008, "Unknown Message")


def unknown_user() -> Refusal:
    return Refusal(404, 10013, "Unknown User")


def unknown_webhook() -> Refusal:
    return Refusal(404, 10015, "Unknown Webhook")


def unknown_interaction() -> Refusal:
    return Refusal(404, 10062, "Unknown interaction")


def unknown_command() -> Refusal:
    return Refusal(404, 10063, "Unknown application command")


def unknown_application() -> Refusal:
    return Refusal(404, 10002, "Unknown Application")


def too_many_commands(most: int) -> Refusal:
    return Refusal(400, 30032, f"Maximum number of application commands reached ({most}).")


def already_acknowledged() -> Refusal:
    return Refusal(400, 40060, "Interaction has already been acknowledged.")


def missing_access() -> Refusal:
    return Refusal(403, 50001, "Missing Access")


def not_the_author() -> Refusal:
    return Refusal(403, 50005, "Cannot edit a message authored by another user")


def empty_message() -> Refusal:
    return Refusal(400, 50006, "Cannot send an empty message")


def missing_permissions() -> Refusal:
    return Refusal(403, 50013, "Missing Permissions")


def dead_token() -> Refusal:
    return Refusal(401, 50027, "Invalid Webhook Token")


def no_history_to_reply() -> Refusal:
    return Refusal(400, 160002, "Cannot reply without permission to read message history")
