"""What a channel reads of a request: every state has its words, its buttons, and its end."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wholes import NOW, SKETCH, WAN, take, whole

from clips.domain import Lane, TakeState, UserId
from clips.queue import Place, Rest
from clips.requests import WholeRequest
from courier import panels
from courier.buttons import Action
from courier.cards import ReplyState, card
from courier.message import MOST_CHARACTERS, Message
from courier.replies import late_mention, reply
from courier.wording import member_text, moment, takes_named

S = TakeState


def drawn(request: WholeRequest, place: Place | None = None, state: ReplyState | None = None) -> Message:
    message = card(request, model=WAN, place=place, reply=state or ReplyState(), now=NOW)
    assert message is not None
    return message


def replied(request: WholeRequest, *, posted: bool = False) -> Message:
    message = reply(request, model=WAN, posted=posted)
    assert message is not None
    return message


def actions(message: Message) -> list[Action]:
    return [button.id.action for row in message.rows for button in row]


def test_a_waiting_card_tells_place_start_and_end() -> None:
    waiting = whole(take(1, S.READY), take(2, S.WAITING), take(3, S.WAITING))
    message = drawn(waiting, Place(ahead=3, starts_in=95, ends_in=600))
    starts, ends = moment(NOW + timedelta(seconds=100)), moment(NOW + timedelta(seconds=600))
    assert message.content == (
        f"**3 takes ahead.** Starts {starts}, ready {ends}.\n"
        "<@42> · “gentle wind in the hair”\n"
        "Wan 2.2 TI2V 5B · 5.04 s · 3 takes · at most 273 credits"
    )
    assert actions(message) == [Action.CANCEL]
    assert message.mention is None


@pytest.mark.parametrize(
    ("place", "start"),
    [
        (None, "**Waiting.**"),
        (Place(0, 1.0, 40.0), "**Next in line.** Starts any moment, ready <t:"),
        (Place(1, 30.0, 40.0), "**1 take ahead.** Starts <t:"),
        (Place(0, 900.0, 960.0, Rest(NOW)), "**Quiet hours.** Next in line. Rendering goes on <t:"),
        (Place(2, 60.0, 90.0, Rest(None)), "**Paused by the host.** 2 takes ahead. It keeps its place and renders"),
    ],
)
def test_places_in_words(place: Place | None, start: str) -> None:
    assert drawn(whole(take(1, S.READY)), place).content.startswith(start)


def test_a_steady_estimate_is_a_steady_text() -> None:
    waiting = whole(take(1, S.WAITING))
    texts = {
        card(
            waiting,
            model=WAN,
            place=Place(2, 1000 - passed, 2000 - passed),
            reply=ReplyState(),
            now=NOW + timedelta(seconds=passed),
        )
        for passed in range(0, 180, 3)
    }
    assert len(texts) == 1


def test_a_rendering_card_tells_take_step_and_the_time_left_by_its_own_pace() -> None:
    running = take(2, S.RUNNING, done=31, total=50, started_at=NOW - timedelta(seconds=62))
    message = drawn(whole(take(1, S.DONE), running, take(3, S.WAITING)), Place(0, 0, 999))
    assert message.content.splitlines()[:3] == [
        f"**Rendering** · take 2 of 3 · step 31 of 50 · ready {moment(NOW + timedelta(seconds=40))}",
        "`██████████░░░░░░`",
        "Take 3 waiting · take 1 ready",
    ]
    assert actions(message) == [Action.CANCEL]


@pytest.mark.parametrize(
    ("phase", "words"),
    [
        ("load", "loading the model"),
        ("warm", "warming the model up"),
        ("queue", "in line where it is rendered"),
        ("decode", "drawing the frames"),
        ("store", "saving the clip"),
        (None, "starting"),
    ],
)
def test_phases_in_words(phase: str | None, words: str) -> None:
    running = whole(take(1, S.RUNNING, phase=phase))
    assert drawn(running, Place(0, 0, 60)).content.startswith(f"**Rendering** · {words} · ready <t:")


def test_a_part_that_is_guessed_from_the_time_says_so() -> None:
    message = drawn(whole(take(1, S.RUNNING, phase="part", done=50, total=100)))
    assert message.content.splitlines()[0].startswith("**Rendering** · about 50 %")
    assert message.content.splitlines()[1] == "`████████░░░░░░░░`"


def test_a_cancelling_card_says_so_and_its_button_rests() -> None:
    message = drawn(whole(take(1, S.RUNNING, done=3, total=9, cancel_requested=True)))
    assert message.content.startswith("**Cancelling** · stops after this step")
    assert message.rows[0][0].disabled


def test_a_parked_card_tells_why_until_when_and_what_else() -> None:
    until = NOW + timedelta(minutes=14)
    message = drawn(whole(take(1, S.PARKED, due_at=until), take(2, S.PARKED, due_at=until)))
    assert message.content.startswith(
        "**No generator runs this model right now:** Wan 2.2 TI2V 5B. Takes 1 and 2 wait for one up to 15 minutes "
        f"(it gives up {moment(until)}); if none comes, nothing is charged. Cancel to pick another model."
    )


def test_a_fault_is_told_with_the_next_attempt() -> None:
    message = drawn(whole(take(1, S.BACKOFF, due_at=NOW + timedelta(seconds=10))))
    assert message.content.startswith(
        f"**A fault, trying again.** It is tried again {moment(NOW + timedelta(seconds=10))}; the lost attempt costs"
    )


def test_a_card_stays_until_the_reply_has_taken_over() -> None:
    ended = whole(take(1, S.DONE), take(2, S.FAILED))
    assert drawn(ended).content.startswith("**Finished.** The answer is being posted.")
    assert card(ended, model=WAN, place=None, reply=ReplyState(posted=True), now=NOW) is None
    failed = whole(take(1, S.FAILED))
    assert card(failed, model=WAN, place=None, reply=ReplyState(posted=True), now=NOW) is None


def test_a_card_tells_where_clips_are_that_the_channel_would_not_take() -> None:
    message = drawn(whole(take(1, S.DONE)), state=ReplyState(failure="The bot may not post here."))
    assert "could not be posted here.** The bot may not post here. It is kept: see `/my clips`." in message.content


@pytest.mark.parametrize(
    ("charged", "words"),
    [
        (0, "**Cancelled.** Nothing was charged."),
        (1, "**Cancelled.** 1 credit was charged for the seconds that it had rendered."),
        (12, "**Cancelled.** 12 credits were charged for the seconds that it had rendered."),
    ],
)
def test_a_cancelled_card_stays_and_tells_the_cost(charged: int, words: str) -> None:
    message = drawn(whole(take(1, S.CANCELLED, charged=charged), take(2, S.CANCELLED)))
    assert message.content.startswith(words)
    assert actions(message) == [Action.TRY_AGAIN]
    assert reply(whole(take(1, S.CANCELLED)), model=WAN, posted=False) is None


def test_the_first_take_posts_the_reply_and_says_what_is_to_come() -> None:
    message = replied(whole(take(1, S.DONE), take(2, S.RUNNING), take(3, S.WAITING)))
    assert message.content == (
        "<@42> **1 of 3 takes is ready** · “gentle wind in the hair”\n"
        "AI-generated with Wan 2.2 TI2V 5B · 5.04 s · 1280 \N{MULTIPLICATION SIGN} 704 · 18 credits so far\n"
        "Still rendering: takes 2 and 3."
    )
    assert message.mention == UserId(42)
    assert [file.name for file in message.files] == ["zoetrope-12-take-1.mp4"]
    assert actions(message) == [Action.REROLL, Action.REMIX, Action.VARY, Action.ON_MY_PHOTO, Action.MORE]


def test_all_takes_with_the_chosen_one_marked() -> None:
    request = whole(*(take(index, S.DONE) for index in (1, 2, 3, 4)), chosen_take=102, spoiler=True)
    message = replied(request)
    assert [button.label for button in message.rows[0]] == ["1", "2 ★", "3", "4"]
    assert [button.id.take for button in message.rows[0]] == [1, 2, 3, 4]
    assert message.spoiler
    assert sum(map(len, message.rows)) <= 10
    assert "4 takes are ready" in message.content and "72 credits\n" in message.content


def test_partial_failure_and_cancel_are_told_with_their_cost() -> None:
    message = replied(whole(take(1, S.FAILED), take(2, S.DONE), take(3, S.FAILED), take(4, S.CANCELLED, charged=3)))
    assert message.content.splitlines()[2:] == [
        "Takes 1 and 3 failed; nothing was charged for them. The card ran out of memory. Try a smaller size.",
        "Take 4 was cancelled; 3 credits for what had rendered.",
    ]
    assert len(message.rows) == 1


def test_all_failed_is_a_mention_with_the_reason_and_two_ways_on() -> None:
    message = replied(whole(take(1, S.FAILED), take(2, S.FAILED, error="Second reason.")))
    assert message.content.startswith(
        "<@42> **None of your takes could be made.** The card ran out of memory. Try a smaller size. Second reason. "
        "Nothing was charged."
    )
    assert message.mention == UserId(42)
    assert actions(message) == [Action.TRY_AGAIN, Action.CHANGE]
    assert message.files == ()


def test_nothing_is_told_while_another_take_may_still_come() -> None:
    assert reply(whole(take(1, S.FAILED), take(2, S.WAITING)), model=WAN, posted=False) is None


def test_deleted_clips_are_told_only_where_they_were_seen() -> None:
    request = whole(*(take(index, S.DONE, clip_deleted=True, master=None) for index in (1, 2)))
    assert reply(request, model=WAN, posted=False) is None
    message = replied(request, posted=True)
    assert message.content.startswith("The clips were deleted and cannot be brought back.")
    assert (message.files, message.rows, message.mention) == ((), (), None)


def test_a_sketch_is_never_taken_for_a_video() -> None:
    request = whole(take(1, S.DONE), model="sketch")
    for message in (
        reply(request, model=SKETCH, posted=False),
        card(request, model=SKETCH, place=None, reply=ReplyState(), now=NOW),
    ):
        assert message is not None and "sketch, not a generated video" in message.content


def test_a_model_that_left_the_catalogue_still_has_a_name() -> None:
    message = reply(whole(take(1, S.DONE)), model=None, posted=False)
    assert message is not None
    assert "wan-2.2-ti2v-5b" in message.content
    assert Action.VARY not in actions(message)


def test_relaxed_work_is_free() -> None:
    request = whole(take(1, S.DONE, charged=0), lane=Lane.RELAXED)
    assert "relaxed lane, free" in replied(request).content


@pytest.mark.parametrize(("minutes", "told"), [(1, False), (3, True)])
def test_a_last_take_that_comes_late_is_mentioned_again(minutes: int, *, told: bool) -> None:
    request = whole(take(1, S.DONE), take(2, S.DONE, finished_at=NOW + timedelta(minutes=minutes)))
    message = late_mention(request, NOW)
    assert (message is not None) is told
    if message is not None:
        assert message.content == "<@42> Take 2 is ready too: 2 takes in all, in the message above."
        assert message.mention == UserId(42)


def test_no_late_mention_before_the_end_or_before_the_first() -> None:
    late = take(2, S.DONE, finished_at=NOW + timedelta(hours=1))
    assert late_mention(whole(take(1, S.DONE), late, take(3, S.RUNNING)), NOW) is None
    assert late_mention(whole(take(1, S.DONE), late), None) is None


def test_panels_tell_what_each_choice_costs() -> None:
    request = whole(take(1, S.DONE), take(2, S.DONE))
    choice = panels.vary(request, request.takes[1], takes=2)
    assert "Either makes 2 takes: at most 182 credits, from your credits." in choice.content
    assert [(button.id.action, button.id.take) for button in choice.rows[0]] == [
        (Action.SUBTLE, 2),
        (Action.STRONG, 2),
    ]
    assert panels.more(request, request.takes[0], may_delete=False).rows[0][1].disabled
    shown = panels.recipe(request, request.takes[0], WAN, {"steps": 50, "note": "a ``` b\nc"})
    assert "steps: 50\nnote: a ''' b c\n```" in shown.content


NASTY = "@everyone <@1> <@&2> **b** `c` ||d|| [e](http://f) \u202eg\n# h \x00 <:i:1> ~~j~~ > k"


def test_a_members_text_stays_text() -> None:
    text = member_text(NASTY)
    assert text == (
        "@\u200beveryone \\<@\u200b1\\> \\<@\u200b&2\\> \\*\\*b\\*\\* \\`c\\` \\|\\|d\\|\\| \\[e\\](http://f) g # h "
        "\\<:i:1\\> \\~\\~j\\~\\~ \\> k"
    )
    content = replied(whole(take(1, S.DONE), motion=NASTY)).content
    assert text in content.splitlines()[0]


def test_words_for_takes() -> None:
    assert takes_named([2]) == "take 2"
    assert takes_named([1, 2, 4]) == "takes 1, 2 and 4"
    assert takes_named([1], of_several=False) == "it"


states = st.sampled_from(TakeState)


@given(takes=st.lists(states, min_size=1, max_size=4), motion=st.text(), error=st.text(), posted=st.booleans())
def test_every_request_can_be_drawn(takes: list[TakeState], motion: str, error: str, *, posted: bool) -> None:
    """No text is too long for Discord, and whatever has ended leaves something to read."""
    made = [
        take(index, state, error=error * 50 if state is S.FAILED else None)
        for index, state in enumerate(takes, start=1)
    ]
    request = whole(*made, motion=motion * 40)
    here = card(request, model=WAN, place=Place(1, 2, 3), reply=ReplyState(posted=posted), now=NOW)
    answer = reply(request, model=WAN, posted=posted)
    for message in (here, answer):
        assert message is None or len(message.content) <= MOST_CHARACTERS
    assert here is not None or answer is not None
    if not request.ended:
        assert here is not None and actions(here) == [Action.CANCEL]
