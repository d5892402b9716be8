"""The replay queue for operators: looked at, retried, dropped after asking, paused; by console and command line."""

from __future__ import annotations

import io
from datetime import timedelta

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from mailcache.models import Account, AuditEvent, Mailbox, Message, Mutation, MutationState, Remote, ReplayLatency
from mailcache.services.expunge import expunge_messages
from mailcache.services.flags import store_flags
from mailcache.wire.number_set import NumberSet
from tests.builders import add_skeleton, make_account, make_fence, make_mailboxes, skeleton_row
from tests.imapped_site.consoles import make_operator
from tests.mailcache.deltas import adding

pytestmark = pytest.mark.django_db

LIST = "admin:mailcache_mutation_changelist"


@pytest.fixture
def inbox() -> Mailbox:
    fence = make_fence(make_account())
    (inbox,) = make_mailboxes(fence)
    add_skeleton(fence, inbox, [skeleton_row(1), skeleton_row(2)])
    return inbox


@pytest.fixture
def operator(client: Client) -> Client:
    client.force_login(make_operator())
    return client


def flag(inbox: Mailbox) -> Mutation:
    """Change the flags of one message, and have the change parked."""
    uids = NumberSet.from_numbers([1])
    store_flags(user_id=inbox.account.user_id, mailbox_id=inbox.pk, uids=uids, store=adding("\\Flagged"))
    Mutation.objects.update(
        state=MutationState.PARKED, parked_cause="read_only", last_error="the mailbox is read-only", attempts=8
    )
    return Mutation.objects.get()


def delete(inbox: Mailbox) -> Mutation:
    """Delete one message here."""
    user_id, uids = inbox.account.user_id, NumberSet.from_numbers([2])
    store_flags(user_id=user_id, mailbox_id=inbox.pk, uids=uids, store=adding("\\Deleted"))
    expunge_messages(user_id=user_id, mailbox_id=inbox.pk)
    return Mutation.objects.get()


def run(name: str, account: Account, **options: object) -> str:
    out = io.StringIO()
    call_command(name, account_email=account.address, stdout=out, **options)
    return out.getvalue()


def test_the_queue_is_told_in_words(operator: Client, inbox: Mailbox) -> None:
    flag(inbox)
    page = operator.get(reverse(LIST)).content.decode()
    assert "+(\\Flagged)" in page
    assert "the mailbox is read-only" in page
    account = operator.get(reverse("admin:mailcache_account_change", args=[inbox.account_id])).content.decode()
    assert "0 waiting, 1 parked (1: the mailbox is read-only there); the oldest is from" in account
    assert "replayed so far" not in account
    told = run("list_mutations", inbox.account)
    assert "+(\\Flagged)" in told
    assert "INBOX" in told


def test_how_long_changes_take_is_told(operator: Client, inbox: Mailbox) -> None:
    ReplayLatency.objects.create(account=inbox.account, bucket=1, changes=1500, seconds=1200.0)
    ReplayLatency.objects.create(account=inbox.account, bucket=12, changes=500, seconds=800_000.0)
    told = "2,000 replayed so far, 75% within 5 s, 400.6 s on average"
    assert told in operator.get(reverse("admin:mailcache_account_change", args=[inbox.account_id])).content.decode()
    assert told in run("list_mutations", inbox.account)


def test_why_a_change_waits_is_told(operator: Client, inbox: Mailbox) -> None:
    delete(inbox)
    Account.objects.update(replay_reason="nobody is there", next_replay_at=timezone.now() + timedelta(seconds=3000))
    page = operator.get(reverse(LIST)).content.decode()
    assert "nobody is there" in page
    assert "in 50 min" in page
    assert "nobody is there" in run("list_mutations", inbox.account)
    Account.objects.update(upstream_away=True)
    assert "when the upstream is back" in operator.get(reverse(LIST)).content.decode()
    Account.objects.update(replay_paused=True)
    assert "paused" in operator.get(reverse(LIST)).content.decode()
    assert "replay is paused" in run("list_mutations", inbox.account)


def test_where_the_message_of_a_change_is_told(operator: Client, inbox: Mailbox) -> None:
    mutation = flag(inbox)
    page = operator.get(reverse("admin:mailcache_mutation_change", args=[mutation.pk])).content.decode()
    assert "UID 1 in INBOX" in page


def test_retry(operator: Client, inbox: Mailbox) -> None:
    mutation = flag(inbox)
    form = {"action": "retry_selected", "_selected_action": [mutation.pk]}
    assert "1 parked changes are tried again" in operator.post(reverse(LIST), form, follow=True).content.decode()
    mutation.refresh_from_db()
    assert (mutation.state, mutation.attempts) == (MutationState.PENDING, 0)
    assert AuditEvent.objects.get(action="mutation.retry").account == inbox.account
    Mutation.objects.update(state=MutationState.PARKED)
    assert "1 parked changes are tried again" in run("retry_mutations", inbox.account)


def test_dropping_asks_once_more_and_undoes_the_change(operator: Client, inbox: Mailbox) -> None:
    mutation = delete(inbox)
    form = {"action": "drop_selected", "_selected_action": [mutation.pk]}
    asked = operator.post(reverse(LIST), form).content.decode()
    assert "Drop these changes?" in asked
    assert Mutation.objects.exists()
    told = operator.post(reverse(LIST), form | {"confirmed": "yes"}, follow=True).content.decode()
    assert "1 changes were dropped" in told
    assert not Mutation.objects.exists()
    # Nothing here knows of the message any more: the next comparison, of everything, shows it again.
    assert list(Remote.objects.values_list("uid", flat=True)) == [1]
    assert inbox.checkpoints.get().full_wanted
    assert AuditEvent.objects.get(action="mutation.drop").detail["dropped"] == "1"


def test_drop_by_command_needs_a_yes(inbox: Mailbox) -> None:
    mutation = delete(inbox)
    with pytest.raises(CommandError, match="say --yes"):
        run("drop_mutation", inbox.account, id=mutation.pk)
    assert "1 changes were dropped" in run("drop_mutation", inbox.account, id=mutation.pk, yes=True)
    with pytest.raises(CommandError, match="no change"):
        run("drop_mutation", inbox.account, id=mutation.pk, yes=True)
    assert Message.objects.count() == 1


def test_pause_and_resume(operator: Client, inbox: Mailbox) -> None:
    for name, paused in (("pause_replay", True), ("resume_replay", False)):
        operator.post(reverse(f"admin:mailcache_account_{name}", args=[inbox.account_id]))
        assert Account.objects.get().replay_paused is paused
        assert AuditEvent.objects.filter(action=f"account.{name}").exists()


def test_strangers_see_nothing(client: Client, inbox: Mailbox) -> None:
    mutation = delete(inbox)
    form = {"action": "drop_selected", "_selected_action": [mutation.pk], "confirmed": "yes"}
    assert client.post(reverse(LIST), form).status_code == 302
    assert Mutation.objects.exists()
