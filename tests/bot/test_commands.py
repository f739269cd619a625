"""The menu, `/my`, `/quota` and `/help`, and who is offered them."""

from people import Json, Person, option

from clips import ledger
from clips.domain import UserId
from sandbox.permissions import EVERYONE, Permission
from tests.bot.stage import HOME, INTEGER, STRING, SUBCOMMAND, USER, Stage, jpeg, labels


async def sub(stage: Stage, who: Person, channel: str, command: str, name: str, *options: Json) -> Json:
    """A subcommand up to its answer."""
    given = {"type": SUBCOMMAND, "name": name, "options": [*options]}
    return await stage.answer(who, await who.use(channel, command, given))


# ---- the message menu


async def test_the_menu_animates_the_photo_of_a_message(stage: Stage, juno: Person, theo: Person, lobby: str):
    photo = await theo.upload(jpeg(), "sea.jpg")
    message = await theo.write(lobby, "look", attachments=[photo])
    opened = await juno.use(lobby, "Animate", target=message["id"])
    form = (await juno.outcome(opened))["modal"]
    assert form["title"] == "Animate this photo"
    answer = await stage.fill(juno, opened, motion="waves roll in", model=["sketch"])
    assert "On its way" in answer["content"]
    request = (await stage.last()).request
    assert (request.spec.motion, request.spec.seconds, request.user_id) == ("waves roll in", 5, int(juno.id))


async def test_a_message_without_a_photo_is_refused(stage: Stage, juno: Person, lobby: str):
    for message in (
        await juno.write(lobby, "only words"),
        await juno.write(lobby, attachments=[await juno.upload(b"x", "notes.txt")]),
    ):
        answer = await stage.answer(juno, await juno.use(lobby, "Animate", target=message["id"]))
        assert answer["content"].startswith("That message has no photo.")


# ---- /my


async def test_my_queue_tells_how_far_and_cancels(stage: Stage, juno: Person, theo: Person, lobby: str):
    assert "You wait for nothing." in (await sub(stage, juno, lobby, "my", "queue"))["content"]
    await stage.ask(juno, lobby, motion="zoom in", takes=1)
    await stage.ask(juno, lobby, takes=2)
    await stage.begin()
    first, second = await stage.request_ids()
    listed = await sub(stage, juno, lobby, "my", "queue")
    lines = listed["content"].splitlines()
    assert lines[0].startswith(f"**#{first}** sketch, not a generated video “zoom in”: rendering, 0 of 1 take ready")
    assert lines[1].startswith(f"**#{second}**") and "ready <t:" in lines[1]
    assert labels(listed) == [f"Cancel #{first}", f"Cancel #{second}"]
    told = await stage.answer(juno, await stage.press(juno, listed, f"Cancel #{second}"))
    assert told["content"].startswith("Cancelled")
    assert labels(await sub(stage, juno, lobby, "my", "queue")) == [f"Cancel #{first}"]
    assert "You wait for nothing." in (await sub(stage, theo, lobby, "my", "queue"))["content"]


async def test_my_clips_links_to_the_replies(stage: Stage, juno: Person, lobby: str):
    assert "You have no clips here yet." in (await sub(stage, juno, lobby, "my", "clips"))["content"]
    await stage.ask(juno, lobby, takes=1)
    await stage.finish()
    reply = await stage.shown(juno, lobby, lambda message: message["attachments"])

    async def listed() -> str:
        """The list, once it knows the reply: it shows a moment before it is marked as posted."""
        content: str = (await sub(stage, juno, lobby, "my", "clips"))["content"]
        return content if f"https://discord.com/channels/{HOME}/{lobby}/{reply['id']}" in content else ""

    assert "1 take" in await stage.eventually(listed)


async def test_what_keeps_a_message_out_of_its_channel_is_told(stage: Stage, juno: Person, lobby: str):
    async def bot_may(bits: int | None) -> None:
        body = {"bot_permissions": None if bits is None else str(bits)}
        async with stage.session.post(f"/control/channels/{lobby}", json=body) as answer:
            assert answer.status < 300

    async def listed(name: str) -> str:
        content: str = (await sub(stage, juno, lobby, "my", name))["content"]
        return (
            content if f" · not in <#{lobby}>: The bot may not post here. In this channel it needs" in content else ""
        )

    await bot_may(EVERYONE & ~Permission.SEND_MESSAGES)
    await stage.ask(juno, lobby, takes=1)
    assert await stage.eventually(lambda: listed("queue"))
    await stage.finish()
    assert await stage.eventually(lambda: listed("clips"))
    await bot_may(None)
    await stage.pool.execute("UPDATE deliveries SET next_at = now()")
    await stage.pool.execute("SELECT pg_notify('deliveries', '')")
    await stage.shown(juno, lobby, lambda message: message["attachments"])
    assert "not in" not in (await sub(stage, juno, lobby, "my", "clips"))["content"]


async def test_my_budget_counts_what_is_held(stage: Stage, juno: Person, lobby: str):
    await stage.ask(juno, lobby)
    told = (await sub(stage, juno, lobby, "my", "budget"))["content"]
    assert "You have **894 credits** left, and 6 set aside" in told
    assert "This server has 19994 of its 20000 left today. One click may cost up to 450." in told


# ---- /quota


async def test_quota_is_offered_to_staff_alone(stage: Stage, juno: Person, mara: Person, lobby: str):
    assert await juno.command_id(lobby, "quota") == "0"
    assert await mara.command_id(lobby, "quota") != "0"


async def test_grants_move_credits_and_are_on_record(stage: Stage, mara: Person, juno: Person, lobby: str):
    member = option("member", USER, juno.id)
    given = await sub(
        stage, mara, lobby, "quota", "grant", option("credits", INTEGER, 50), member, option("note", STRING, "a prize")
    )
    assert given["content"].startswith("50 credits granted. **Juno** has 950 credits left")
    taken = await sub(stage, mara, lobby, "quota", "grant", option("credits", INTEGER, -5000), member)
    assert taken["content"].startswith("950 credits taken back.")
    nothing = await sub(stage, mara, lobby, "quota", "grant", option("credits", INTEGER, -1), member)
    assert nothing["content"].startswith("Nothing moved: there was nothing left to take back.")
    seen = (await sub(stage, mara, lobby, "quota", "view", member))["content"].splitlines()
    assert seen[0].startswith("**Juno** has 0 credits left")
    assert f"50 credits granted by <@{mara.id}> “a prize”" in seen[2]
    assert "950 credits taken back" in seen[1]


async def test_the_server_has_credits_of_its_own(stage: Stage, mara: Person, lobby: str):
    await sub(stage, mara, lobby, "quota", "grant", option("credits", INTEGER, 1))
    seen = (await sub(stage, mara, lobby, "quota", "view"))["content"]
    assert seen.startswith("**This server** has 20001 credits left")


async def test_daily_numbers_are_for_all_for_one_and_for_the_server(
    stage: Stage, mara: Person, juno: Person, theo: Person, lobby: str
):
    daily = option("daily", INTEGER, 100)
    all_of_them = await sub(stage, mara, lobby, "quota", "set", daily, option("server_daily", INTEGER, 500))
    assert all_of_them["content"] == (
        "From the next daily top-up on, each member without a number of their own gets 100 credits a day and the whole "
        "server gets 500 credits a day. That is at midnight UTC, or with the first use of today where there was none "
        "yet. For today, use `/quota grant`."
    )
    one = await sub(stage, mara, lobby, "quota", "set", option("daily", INTEGER, 7), option("member", USER, juno.id))
    assert f"<@{juno.id}> gets 7 credits a day" in one["content"]
    wrong = await sub(stage, mara, lobby, "quota", "set")
    assert wrong["content"].startswith("Say how many credits")
    allowances = [
        (await ledger.balance(stage.pool, HOME, UserId(user) if user else None)).allowance
        for user in (int(juno.id), int(theo.id), None)
    ]
    assert allowances == [7, 100, 500]


# ---- /help


async def test_help_names_every_command(stage: Stage, theo: Person, lobby: str):
    told = (await stage.answer(theo, await theo.use(lobby, "help")))["content"]
    for name in ("/animate", "/my queue", "/my clips", "/my budget", "Animate", "Reroll", "Remix…", "lane: relaxed"):
        assert name in told


async def test_no_command_is_offered_outside_servers(stage: Stage):
    commands = stage.box.world.store.commands.under(0)
    assert {command.name for command in commands} == {"animate", "Animate", "my", "help", "quota"}
    assert {str(command.body["contexts"]) for command in commands} == {"[0]"}
