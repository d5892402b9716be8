"""Which tests fail without what a row of field notes asks for: section 1 (``NOTES``) and section 2 (``QUIRKS``).

Kept by hand; ``test_field_notes.py`` checks that the tests exist and that no row is missing. A row that does not
concern reading from an upstream has the word that says what it concerns instead; whoever builds that maps it there.
"""

from __future__ import annotations

Row = str | tuple[str, ...]
"""What a row concerns, or tests as ``path below tests::name``."""

_ALWAYS = "sync/quirks/test_always.py::test_"
_PROFILES = "sync/quirks/test_profiles.py::test_"
_LISTENING = "sync/quirks/test_listening.py::test_"
_IN_STEP = f"{_ALWAYS}a_mirror_stays_in_step"
_CLIENT = "sync/upstream/test_"
_WORKERS = "sync/test_body_workers.py::test_"

NOTES: dict[int, Row] = {
    1: (
        f"{_CLIENT}timeouts.py::test_commands_have_deadlines",
        f"{_CLIENT}timeouts.py::test_logging_in_has_deadlines",
        f"{_CLIENT}login.py::test_no_deadline_is_for_ever",
        f"{_CLIENT}patience.py::test_the_system_notices_a_dead_peer_before_its_own_eleven_minutes",
    ),
    2: (
        f"{_CLIENT}timeouts.py::test_closing_frees_a_parked_read",
        f"{_CLIENT}misbehaviour.py::test_a_poisoned_connection_is_never_used_again",
    ),
    3: (
        f"{_CLIENT}patience.py::test_transfers_may_take_long_but_not_be_silent_for_long",
        f"{_CLIENT}timeouts.py::test_a_trickle_is_no_silence_but_ends_all_the_same",
    ),
    4: ("sync/test_planner.py::test_batches_are_bounded_and_lose_nothing",),
    5: (
        "sync/test_account_run.py::test_a_mailbox_that_cannot_be_opened_does_not_stop_the_others",
        f"{_ALWAYS}a_mailbox_that_somebody_else_locks_is_tried_again",
    ),
    6: (f"{_WORKERS}a_name_server_that_fails_for_a_moment_ends_no_run",),
    7: (
        f"{_WORKERS}what_a_connection_that_breaks_was_to_fetch_is_fetched_by_others",
        f"{_WORKERS}refused_credentials_of_a_further_connection_are_not_tried_again",
    ),
    8: (f"{_CLIENT}misbehaviour.py::test_what_nobody_asked_for_is_kept_apart",),
    9: (
        f"{_CLIENT}misbehaviour.py::test_faults_and_how_far_they_reach",
        f"{_CLIENT}large_messages.py::test_memory_is_bounded_without_a_sink",
    ),
    10: (f"{_CLIENT}patience.py::test_a_slow_login_is_no_dead_account",),
    11: ("sync/test_limits.py::test_whoever_comes_first_leaves_the_others_their_connection",),
    12: (f"{_WORKERS}an_upstream_that_allows_fewer_gets_fewer",),
    13: ("sync/test_account_run.py::test_refused_credentials_stop_the_account_until_they_change",),
    14: ("sync/test_account_run.py::test_commands_are_counted_in_batches",),
    15: (
        "sync/test_every_upstream.py::test_first_sync_and_an_unchanged_account",
        "sync/test_guards.py::test_an_unchanged_mailbox_costs_one_command",
    ),
    16: (
        "sync/test_tiers.py::test_many_new_uids_may_have_few_messages",
        "sync/test_planner.py::test_chunks_are_bounded_and_in_order",
    ),
    17: ("mailcache/test_ingest_cost.py::test_many_messages_cost_no_more_than_one",),
    18: (f"{_WORKERS}bodies_come_while_messages_are_still_listed",),
    19: (f"{_WORKERS}bodies_come_while_messages_are_still_listed",),
    20: (
        "sync/test_dispenser.py::test_mailbox_after_mailbox_newest_first_and_nothing_twice",
        "sync/test_guards.py::test_nothing_that_is_here_is_fetched_again",
    ),
    21: (
        "sync/test_planner.py::test_a_large_message_is_fetched_alone",
        "sync/test_guards.py::test_a_message_at_which_the_connection_breaks_blocks_the_others_for_some_runs_only",
    ),
    22: "measuring",
    23: "measuring",
    24: (
        "sync/test_compare.py::test_numbers_are_kept_only_when_the_comparison_is_over",
        "sync/test_compare.py::test_a_checkpoint_that_claims_more_than_is_here_repairs_itself",
        "sync/test_tiers.py::test_another_number_of_messages_is_never_unchanged",
    ),
    25: (
        "sync/test_guards.py::test_slices_fetch_every_body_once",
        "e2e/test_killed_worker.py::test_every_interrupted_sync_ends_as_an_undisturbed_one",
    ),
    26: ("mailcache/test_mailbox_list.py::test_checkpoint_fields_stay",),
    27: (
        "mailcache/test_relink.py::test_clients_notice_nothing",
        "sync/test_identity.py::test_uids_stay_and_nothing_is_fetched",
    ),
    28: (f"{_WORKERS}connections_that_cannot_open_the_mailbox_stop_nobody",),
    29: (f"{_WORKERS}a_failure_is_shown_while_the_others_go_on",),
    30: ("sync/test_heartbeat.py::test_counters_are_live",),
    31: ("sync/test_heartbeat.py::test_counters_are_live",),
    32: (f"{_WORKERS}when_all_fail_the_first_fault_is_the_reason",),
    33: (
        "sync/test_guards.py::test_a_failing_run_is_recorded",
        "sync/test_account_run.py::test_a_mailbox_that_cannot_be_opened_does_not_stop_the_others",
    ),
    34: ("sync/test_runs.py::test_a_run_whose_worker_vanished_is_closed",),
    35: (
        "sync/test_heartbeat.py::test_a_worker_that_waits_for_a_silent_upstream_lets_go_when_its_lease_is_lost",
        "mailcache/test_leases.py::test_taken_over_raises_the_generation_and_fences_the_old_holder",
    ),
    36: (
        "sync/test_lanes.py::test_a_worker_that_is_stopped_hands_over_at_once",
        "e2e/test_stopped_worker.py::test_a_stopped_worker_hands_over",
    ),
    37: (f"{_CLIENT}misbehaviour.py::test_mailboxes_open_whatever_is_said",),
    38: ("mailcache/mime/test_properties.py::test_everything_that_is_kept_can_be_stored",),
    39: (
        "mailcache/mime/test_properties.py::test_nesting_ends",
        "mailcache/mime/test_properties.py::test_parts_end",
    ),
    40: "search",
    41: "search",
    42: "search",
    43: ("mailcache/test_ingest.py::test_equal_bytes_are_kept_once_per_account",),
    44: "storage",
    45: ("sync/test_account_run.py::test_reading_leaves_no_trace_upstream",),
    46: "clients",
    47: ("sync/test_guards.py::test_no_internaldate_is_taken_from_the_header",),
    48: "clients",
    49: "clients",
    50: "replay",
    51: ("mailcache/test_ingest.py::test_an_upstream_cannot_use_our_uids_up",),
    52: ("sync/test_watcher.py::test_what_came_while_nobody_watched_is_noticed",),
    53: "replay",
    54: "replay",
    55: "operations",
    56: "operations",
    57: "operations",
    58: "operations",
    59: "operations",
    60: "testing",
    61: "testing",
    62: "testing",
    63: "testing",
    64: "testing",
}

QUIRKS: dict[int, Row] = {
    1: (
        "sync/test_gmail.py::test_every_mailbox_shows_its_messages_and_each_body_is_fetched_once",
        "mailcache/test_labels.py::test_new_messages_appear_in_all_their_mailboxes_with_one_remote",
    ),
    2: (
        "sync/test_gmail.py::test_highestmodseq_that_moves_before_the_change_is_visible",
        "sync/test_tiers.py::test_a_modseq_that_has_just_moved_is_read_from_once_more",
    ),
    3: (
        f"{_CLIENT}qresync.py::test_gmail_has_condstore_only",
        f"{_CLIENT}misbehaviour.py::test_mailboxes_open_whatever_is_said",
    ),
    4: (
        "sync/test_gmail.py::test_a_connection_too_many_shrinks_the_budget",
        "sync/test_slots.py::test_the_setting_the_account_and_the_profile",
    ),
    5: (
        f"{_PROFILES}who_is_throttled_slows_down",
        f"{_CLIENT}usage.py::test_pauses_double_and_decay",
        "sync/test_policy.py::test_bodies_wait_for_the_next_day_when_the_budget_is_used",
    ),
    6: (
        "sync/test_gmail.py::test_trashed_deleted_and_restored",
        "sync/replay/test_labels.py::test_an_expunge_is_a_label_less",
        "sync/replay/test_labels.py::test_only_trash_deletes",
    ),
    7: (
        "sync/test_gmail.py::test_from_the_beginning_mailboxes_are_mirrored_one_by_one",
        "sync/test_gmail.py::test_hidden_and_shown_again_nothing_is_lost_doubled_or_renumbered",
        "sync/test_gmail.py::test_mailboxes_limited_to_their_newest_messages_lose_nothing_here",
        "sync/test_gmail.py::test_names_in_another_language",
    ),
    8: ("sync/test_gmail.py::test_a_large_mailbox_is_searched_in_ranges",),
    9: ("sync/replay/test_labels.py::test_sent_mail_is_filed_once",),
    10: (
        _IN_STEP,
        f"{_ALWAYS}names_tell_roles_where_special_use_is_unknown",
        "sync/test_mailbox_roles.py::test_by_name",
    ),
    11: (f"{_PROFILES}a_login_that_says_ok_is_put_to_the_test",),
    12: (
        f"{_ALWAYS}a_limit_ends_the_run_and_its_time_is_obeyed",
        "sync/test_connection.py::test_a_suggested_pause_is_obeyed",
    ),
    13: (f"{_ALWAYS}rev2_is_used_where_it_is_allowed_only",),
    14: (_IN_STEP, f"{_CLIENT}odd_messages.py::test_sequence_numbers_mean_nothing"),
    15: (
        f"{_ALWAYS}the_first_bytes_are_those_of_a_message",
        f"{_PROFILES}a_message_that_is_rewritten_before_it_comes",
        f"{_PROFILES}sizes_that_vary_are_no_other_numbering",
    ),
    16: (f"{_ALWAYS}messages_without_a_body_block_nobody",),
    17: (
        f"{_ALWAYS}what_passes_is_tried_again",
        f"{_PROFILES}id_is_nil",
        f"{_CLIENT}odd_messages.py::test_command_argument_errors_concern_what_was_asked",
    ),
    18: (
        f"{_ALWAYS}lines_are_short_and_sets_ascend_in_a_scattered_mailbox",
        f"{_ALWAYS}names_tell_roles_where_special_use_is_unknown",
        "sync/test_mailbox_list.py::test_odd_names_come_through",
    ),
    19: ("sync/test_identity.py::test_a_move_is_a_move", "mailcache/test_moves.py::test_a_move_fetches_nothing"),
    20: (
        _IN_STEP,
        f"{_CLIENT}tls.py::test_a_server_that_knows_tls_1_2_at_most",
        f"{_LISTENING}noop_keeps_alive_where_idle_does_not",
    ),
    21: (_IN_STEP, f"{_CLIENT}capabilities.py::test_capabilities_are_those_after_login"),
    22: (
        _IN_STEP,
        f"{_PROFILES}mail_does_not_disappear_because_of_vanished",
        "sync/test_compare.py::test_vanished_is_checked_against_a_list_where_it_is_not_trusted",
    ),
    23: (
        _IN_STEP,
        f"{_ALWAYS}what_passes_is_tried_again",
        f"{_CLIENT}odd_messages.py::test_envelopes_that_are_none_cost_no_more_than_themselves",
    ),
    24: "writing",
    25: (f"{_PROFILES}all_of_a_large_mailbox_is_seen", f"{_CLIENT}uidonly.py::test_rows_carry_the_uid_in_front"),
    26: (
        _IN_STEP,
        f"{_ALWAYS}what_passes_is_tried_again",
        f"{_ALWAYS}messages_without_a_body_block_nobody",
        f"{_PROFILES}another_message_is_not_taken_for_the_one_that_was_asked_for",
    ),
    27: (f"{_PROFILES}ranges_are_narrow", f"{_LISTENING}idle_is_renewed_within_three_minutes"),
    28: (
        _IN_STEP,
        f"{_PROFILES}id_comes_before_select",
        f"{_LISTENING}status_keeps_alive_where_noop_does_not",
        f"{_LISTENING}a_mailbox_is_opened_where_status_tells_nothing",
    ),
    29: (f"{_LISTENING}idle_is_renewed_within_a_minute",),
    30: (f"{_LISTENING}a_mailbox_is_opened_again_where_noop_shows_nothing",),
    31: (_IN_STEP, "mailcache/mime/test_against_dovecot.py::test_envelope_body_and_bodystructure"),
    32: (f"{_ALWAYS}lines_are_short_and_sets_ascend_in_a_scattered_mailbox",),
    33: (_IN_STEP, f"{_LISTENING}done_is_answered_before_anything_else_is_sent"),
    34: (f"{_LISTENING}no_idle_lasts_longer_than_servers_may_be_expected_to_bear",),
    35: (
        "sync/test_namespaces.py::test_one_mailbox",
        "sync/test_mailbox_list.py::test_the_personal_prefix_is_left_out_and_shared_mailboxes_keep_their_names",
    ),
    36: (
        f"{_ALWAYS}two_connections_are_enough_where_there_are_no_more",
        f"{_ALWAYS}the_root_of_a_shared_namespace_stops_nobody",
        f"{_ALWAYS}special_uses_are_asked_for",
        "sync/test_slots.py::test_a_host_limit_counts_all_accounts",
    ),
    37: (
        f"{_ALWAYS}the_largest_count_is_the_one_that_counts",
        f"{_PROFILES}news_of_another_mailbox_is_not_taken_for_this_one",
        f"{_ALWAYS}what_passes_is_tried_again",
        f"{_ALWAYS}a_mailbox_that_somebody_else_locks_is_tried_again",
    ),
    38: (
        f"{_PROFILES}a_mailbox_is_selected_because_examine_lies",
        "sync/test_numbering.py::test_no_uidnext_is_derived_from_the_last_uid",
    ),
    39: (_IN_STEP, f"{_PROFILES}sizes_are_asked_of_few", f"{_PROFILES}sizes_are_asked_once"),
    40: (_IN_STEP, f"{_PROFILES}search_is_not_tried_where_there_is_none"),
    41: (
        _IN_STEP,
        f"{_ALWAYS}uidvalidity_that_changes_moves_nobody",
        "sync/test_numbering.py::test_one_that_changes_again_and_again_is_waited_for",
    ),
    42: (
        _IN_STEP,
        f"{_ALWAYS}what_was_refused_once_is_not_tried_on_the_next_connection",
        f"{_ALWAYS}lines_are_short_and_sets_ascend_in_a_scattered_mailbox",
    ),
    43: (
        _IN_STEP,
        "sync/test_numbering.py::test_a_message_without_flags_is_asked_for_once_more_then_shown_without",
        "sync/test_guards.py::test_a_message_that_is_not_delivered_is_set_aside",
    ),
    44: (f"{_ALWAYS}dates_are_read_as_they_are_meant", "mailcache/wire/test_dates.py::test_what_servers_send"),
    45: (_IN_STEP,),
}
