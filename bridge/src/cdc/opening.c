/*
 * opening.c - from options and a stored position to a capture that can go on. See opening.h.
 *
 * Nothing is made on the server while a handle is opened. A slot is made after the caller has stored that
 * it is about to be: what a crash leaves half made is known by that, and made anew.
 */
#include "cdc/opening.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "cdc/publication.h"
#include "failpoint.h"
#include "hash.h"

#define RECORDS "penstock"
#define PGOUTPUT "pgoutput"

/* How often a wait for the server is looked at. */
#define LOOK_MS 1000

/* ---- Options ---- */

/* What was given: a NULL value is as if it were not. */
static pst_status
copy_options(pst_cdc *cdc, const char *const *keys, const char *const *values, pst_error *err)
{
	size_t n = 0;

	while (keys[n] != NULL)
		n++;
	cdc->keys = calloc(n + 1, sizeof(*cdc->keys));
	cdc->values = calloc(n + 1, sizeof(*cdc->values));
	if (cdc->keys == NULL || cdc->values == NULL)
		return psti_fail_nomem(err);
	n = 0;
	for (size_t i = 0; keys[i] != NULL; i++)
	{
		if (values[i] == NULL)
			continue;
		cdc->keys[n] = strdup(keys[i]);
		cdc->values[n] = strdup(values[i]);
		if (cdc->keys[n] == NULL || cdc->values[n] == NULL)
			return psti_fail_nomem(err);
		n++;
	}
	return PST_OK;
}

static pst_status
check_values(const pst_cdc *cdc, pst_error *err)
{
	if (psti_opt_int(cdc->options, PSTI_OPT_VALUES) == PSTI_VALUES_JSON)
	{
		psti_opt_fail(cdc->options, PSTI_OPT_VALUES, err, "is json, which changes do not come in");
		psti_error_hint(err, "Leave it out; format=debezium writes json lines of what comes.");
		return PST_ERR_INVALID;
	}
	if (psti_opt_given(cdc->options, PSTI_OPT_OPERATIONS) &&
		(cdc->startup == PSTI_STARTUP_INITIAL || cdc->startup == PSTI_STARTUP_SNAPSHOT))
	{
		psti_opt_fail(cdc->options, PSTI_OPT_OPERATIONS, err,
					  "leaves changes out of a copy that a snapshot began");
		psti_error_hint(err, "Set scan.startup.mode=latest-offset, or leave it out.");
		return PST_ERR_INVALID;
	}
	return PST_OK;
}

static pst_status
read_options(pst_cdc *cdc, const char *const *keys, const char *const *values,
			 const pst_hooks *hooks, pst_error *err)
{
	pst_status status = psti_hooks_copy(hooks, &cdc->hooks, err);

	if (status == PST_OK)
		status = psti_options_new(keys, values, PSTI_CDC, &cdc->hooks, &cdc->options, err);
	if (status == PST_OK)
		status = copy_options(cdc, keys, values, err);
	if (status != PST_OK)
		return status;
	cdc->startup = (psti_startup) psti_opt_int(cdc->options, PSTI_OPT_STARTUP_MODE);
	cdc->changelog = (psti_changelog) psti_opt_int(cdc->options, PSTI_OPT_CHANGELOG_MODE);
	cdc->consumer = (psti_consumer) psti_opt_int(cdc->options, PSTI_OPT_CONSUMER);
	cdc->ack_delay = (size_t) psti_opt_int(cdc->options, PSTI_OPT_ACK_DELAY);
	cdc->rules.options = cdc->options;
	cdc->rules.values = (psti_values) psti_opt_int(cdc->options, PSTI_OPT_VALUES);
	status = check_values(cdc, err);
	if (status == PST_OK && psti_opt_int(cdc->options, PSTI_OPT_REGIONS) == 1)
		status = psti_regions_new(cdc, err);
	return status == PST_OK ? psti_wanted_init(&cdc->wanted, cdc->options, err) : status;
}

/* Of the first digits of a fingerprint: all that must stay as it was. */
#define FINGERPRINT_FIXED 16

/* Of the options that shape what is told, and how changes are counted; then of those that choose columns. */
static pst_status
make_fingerprint(const pst_cdc *cdc, char **out, pst_error *err)
{
	static const psti_opt numbers[] = {PSTI_OPT_CDC_ORIGIN, PSTI_OPT_PARTITIONS};
	uint64_t value =
		psti_hash_text(PSTI_HASH_INIT, psti_opt_text(cdc->options, PSTI_OPT_OPERATIONS));
	uint64_t columns =
		psti_hash_text(PSTI_HASH_INIT, psti_opt_text(cdc->options, PSTI_OPT_CDC_COLUMNS));
	char text[40];

	columns = psti_hash_text(columns, psti_opt_text(cdc->options, PSTI_OPT_EXCLUDE_COLUMNS));
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
	{
		snprintf(text, sizeof(text), "%lld", (long long) psti_opt_int(cdc->options, numbers[i]));
		value = psti_hash_text(value, text);
	}
	/* pgoutput's changes are counted here: as they come. */
	if (cdc->plain && psti_opt_given(cdc->options, PSTI_OPT_MESSAGES))
		value = psti_hash_text(value, "messages");
	snprintf(text, sizeof(text), "%016llx%016llx", (unsigned long long) value,
			 (unsigned long long) columns);
	free(*out);
	*out = strdup(text);
	return *out == NULL ? psti_fail_nomem(err) : PST_OK;
}

/* ---- The slot's name and output plugin ---- */

static pst_status
check_name(const pst_cdc *cdc, const char *name, pst_error *err)
{
	size_t n = strlen(name);

	if (n > 0 && n < 64 && strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_") == n)
		return PST_OK;
	psti_opt_fail(cdc->options, PSTI_OPT_SLOT, err, "is no name of a slot: \"%s\"", name);
	psti_error_hint(err, "Use lower-case letters, digits and underscores, at most 63 of them.");
	return PST_ERR_INVALID;
}

/* A name that no other session has. */
static void
make_name(char *out, size_t size)
{
	struct timespec at;

	clock_gettime(CLOCK_REALTIME, &at);
	snprintf(out, size, "penstock_%ld_%lld%06ld", (long) getpid(), (long long) at.tv_sec,
			 at.tv_nsec / 1000);
}

static pst_status
choose_name(pst_cdc *cdc, pst_error *err)
{
	const char *given = psti_opt_text(cdc->options, PSTI_OPT_SLOT);
	char made[64];

	if (cdc->resumed)
	{
		if (given == NULL || strcmp(given, cdc->at.slot) == 0)
			return PST_OK;
		psti_opt_fail(cdc->options, PSTI_OPT_SLOT, err, "is \"%s\", the position is of \"%s\"",
					  given, cdc->at.slot);
		psti_error_hint(err, "Give the position's slot, or none.");
		return PST_ERR_INVALID;
	}
	cdc->temporary = given == NULL;
	if (given == NULL)
	{
		make_name(made, sizeof(made));
		given = made;
	}
	cdc->at.slot = strdup(given);
	return cdc->at.slot == NULL ? psti_fail_nomem(err) : check_name(cdc, given, err);
}

/* What the options say of the output plugin; *plugin NULL: nothing. */
static pst_status
wanted_plugin(const pst_cdc *cdc, const char **plugin, pst_error *err)
{
	const char *given = psti_opt_text(cdc->options, PSTI_OPT_PLUGIN);
	psti_transport transport = (psti_transport) psti_opt_int(cdc->options, PSTI_OPT_TRANSPORT);

	*plugin = given;
	if (given == NULL)
	{
		*plugin = transport == PSTI_TRANSPORT_ASSISTED ? RECORDS
				  : transport == PSTI_TRANSPORT_PLAIN  ? PGOUTPUT
													   : NULL;
		return PST_OK;
	}
	if (strcmp(given, RECORDS) != 0 && strcmp(given, PGOUTPUT) != 0)
	{
		psti_opt_fail(cdc->options, PSTI_OPT_PLUGIN, err, "is \"%s\", whose messages are not read",
					  given);
		psti_error_hint(err, "Use pgoutput, which every server has, or penstock.");
		return PST_ERR_INVALID;
	}
	if ((transport == PSTI_TRANSPORT_ASSISTED && strcmp(given, PGOUTPUT) == 0) ||
		(transport == PSTI_TRANSPORT_PLAIN && strcmp(given, RECORDS) == 0))
	{
		psti_opt_fail(cdc->options, PSTI_OPT_PLUGIN, err, "is %s, which option transport rules out",
					  given);
		psti_error_hint(err, "Leave one of them out.");
		return PST_ERR_INVALID;
	}
	return PST_OK;
}

/* Whether the server has the files of the extension, and so most likely lets the plugin be loaded. */
static pst_status
has_files(psti_conn *conn, bool *out, pst_error *err)
{
	PGresult *result = NULL;
	pst_status status = psti_conn_exec(conn, "looking for the extension",
									   "SELECT 1 FROM pg_catalog.pg_available_extensions() e "
									   "WHERE e.name OPERATOR(pg_catalog.=) 'penstock'",
									   &result, err);

	*out = status == PST_OK && PQntuples(result) > 0;
	PQclear(result);
	return status;
}

static pst_status
check_plain(const pst_cdc *cdc, pst_error *err)
{
	int version = psti_conn_caps(cdc->conn)->server_version;

	if (psti_opt_int(cdc->options, PSTI_OPT_CDC_ORIGIN) == 1 && version < 160000)
	{
		psti_opt_fail(cdc->options, PSTI_OPT_CDC_ORIGIN, err,
					  "is none, which pgoutput of this server does not know (16 and newer)");
		psti_error_hint(err, "Use output plugin penstock.");
		return err->status = PST_ERR_UNSUPPORTED;
	}
	if (psti_opt_given(cdc->options, PSTI_OPT_MESSAGES) && version < 140000)
	{
		psti_opt_fail(cdc->options, PSTI_OPT_MESSAGES, err,
					  "is given, and pgoutput of this server sends no messages (14 and newer)");
		psti_error_hint(err, "Leave it out, or use output plugin penstock.");
		return err->status = PST_ERR_UNSUPPORTED;
	}
	return PST_OK;
}

/* Settles on an output plugin, and what follows from it. */
static pst_status
use_plugin(pst_cdc *cdc, const char *plugin, pst_error *err)
{
	char *copy = strdup(plugin);
	pst_status status = PST_OK;

	if (copy == NULL)
		return psti_fail_nomem(err);
	free(cdc->at.plugin);
	cdc->at.plugin = copy;
	cdc->plain = strcmp(copy, PGOUTPUT) == 0; /* plugin may have been the one just freed */
	cdc->scope.plain = cdc->plain;
	if (cdc->decoder != NULL)
		cdc->decoder->free(cdc->decoder);
	cdc->decoder = NULL;
	if (!cdc->plain)
		return psti_records_new(&cdc->decoder, err);
	status = check_plain(cdc, err);
	if (status == PST_OK && cdc->completer == NULL)
		status = psti_completer_new(cdc->conn, !cdc->scope.leaves, &cdc->completer, err);
	if (status != PST_OK)
		return status;
	psti_completer_rules(cdc->completer, &cdc->rules);
	psti_completer_scope(cdc->completer, &cdc->scope);
	return psti_pgoutput_new(psti_complete, cdc->completer, &cdc->decoder, err);
}

static pst_status
other_plugin(const pst_cdc *cdc, const psti_slot *slot, pst_error *err)
{
	psti_fail(err, PST_ERR_INVALID, "replication slot \"%s\" is of output plugin %s", cdc->at.slot,
			  slot->logical ? slot->plugin : "none: it is physical");
	psti_error_hint(err, "Name a slot of penstock or pgoutput, whichever options transport and "
						 "decoding.plugin.name ask for.");
	return PST_ERR_INVALID;
}

static pst_status
choose_plugin(pst_cdc *cdc, const psti_slot *slot, pst_error *err)
{
	const char *wanted;
	bool files = false;
	pst_status status = wanted_plugin(cdc, &wanted, err);

	if (status != PST_OK)
		return status;
	if (cdc->resumed && cdc->at.stage != PSTI_STAGE_CREATING)
	{
		if (wanted != NULL && strcmp(wanted, cdc->at.plugin) != 0)
		{
			psti_fail(err, PST_ERR_INVALID,
					  "the position is of output plugin %s, the options are of %s", cdc->at.plugin,
					  wanted);
			psti_error_hint(err, "Leave out options transport and decoding.plugin.name.");
			return PST_ERR_INVALID;
		}
		wanted = cdc->at.plugin;
	}
	else if (cdc->startup == PSTI_STARTUP_COMMITTED && slot->there)
	{
		if (strcmp(slot->plugin, wanted != NULL ? wanted : RECORDS) != 0 &&
			(wanted != NULL || strcmp(slot->plugin, PGOUTPUT) != 0))
			return other_plugin(cdc, slot, err);
		wanted = slot->plugin;
	}
	if (wanted == NULL)
	{
		status = has_files(cdc->conn, &files, err);
		cdc->may_fall_back = files;
		wanted = files ? RECORDS : PGOUTPUT;
	}
	return status == PST_OK ? use_plugin(cdc, wanted, err) : status;
}

/* ---- Where to begin ---- */

static pst_status
set_text(char **to, const char *text, pst_error *err)
{
	free(*to);
	*to = strdup(text);
	return *to == NULL ? psti_fail_nomem(err) : PST_OK;
}

/* Every table in scope becomes a place: to be read, or read as far as we care. */
static pst_status
add_places(pst_cdc *cdc, bool read, pst_error *err)
{
	pst_status status = PST_OK;

	for (size_t i = 0; status == PST_OK && i < cdc->scope.n; i++)
	{
		psti_place *place;

		if (psti_position_find(&cdc->at, cdc->scope.subjects[i].oid) != NULL)
			continue;
		status = psti_position_add(&cdc->at, cdc->scope.subjects[i].oid, &place, err);
		if (status == PST_OK && read)
			place->parts[0].state = PSTI_PART_READ;
		if (status == PST_OK && cdc->scope.subjects[i].rows > 0)
			cdc->reading.total += cdc->scope.subjects[i].rows;
	}
	return status;
}

static pst_status
slot_exists(const pst_cdc *cdc, pst_error *err)
{
	psti_fail(err, PST_ERR_EXISTS, "replication slot \"%s\" is there already", cdc->at.slot);
	psti_error_hint(err,
					"Start with the position of its capture; or without one from where it stands "
					"(scan.startup.mode=committed-offset); or drop it.");
	return PST_ERR_EXISTS;
}

static pst_status
begin_at_slot(pst_cdc *cdc, const psti_slot *slot, pst_error *err)
{
	if (!slot->there)
	{
		psti_fail(err, PST_ERR_NOT_FOUND, "there is no replication slot \"%s\"", cdc->at.slot);
		psti_error_hint(err, "committed-offset goes on with a slot that is there; to make one set "
							 "scan.startup.mode=latest-offset or initial.");
		return PST_ERR_NOT_FOUND;
	}
	cdc->at.safe_lsn = slot->confirmed_lsn;
	cdc->at.stage = PSTI_STAGE_STREAM;
	cdc->step = PSTI_STEP_GO_ON;
	return psti_slot_check(slot, &cdc->at, (int64_t) cdc->ack_delay, err);
}

static pst_status
begin_new(pst_cdc *cdc, const psti_slot *slot, pst_error *err)
{
	pst_status status;

	cdc->at.stage = PSTI_STAGE_CREATING;
	cdc->step = cdc->temporary ? PSTI_STEP_CREATE : PSTI_STEP_TELL;
	if (cdc->startup == PSTI_STARTUP_SNAPSHOT)
		cdc->step = PSTI_STEP_CREATE;
	else if (cdc->startup == PSTI_STARTUP_COMMITTED)
	{
		status = begin_at_slot(cdc, slot, err);
		if (status != PST_OK)
			return status;
	}
	else if (slot->there)
		return slot_exists(cdc, err);
	return add_places(
		cdc, cdc->startup == PSTI_STARTUP_LATEST || cdc->startup == PSTI_STARTUP_COMMITTED, err);
}

/* ---- Going on at a position ---- */

static pst_status
other_capture(pst_error *err, const char *what, const char *was, const char *is)
{
	psti_fail(err, PST_ERR_INVALID, "the position is of another %s", what);
	psti_error_detail(err, "It is of \"%s\", here it is \"%s\".", was, is);
	psti_error_hint(err, "Go on where it was taken, or begin anew without it.");
	return PST_ERR_INVALID;
}

/* Whether its rows were read under a snapshot that may have seen what lies behind left. */
static bool
is_read_beyond(const pst_cdc *cdc, const psti_place *place, uint64_t left)
{
	for (size_t p = 0; p < place->nparts; p++)
		if (place->parts[p].view != PSTI_NO_VIEW &&
			cdc->at.views[place->parts[p].view].horizon > left)
			return true;
	return false;
}

/* A standby that became the server did not have what lies behind left: where it is from is undone. */
static pst_status
undone(const pst_cdc *cdc, const char *what, uint64_t left, uint32_t now, pst_error *err)
{
	char point[PSTI_LSN_SIZE];

	psti_fail(err, PST_ERR_STATE, "%s of WAL that the server does not have", what);
	psti_error_detail(err,
					  "A standby was promoted, which left timeline %" PRIu32
					  " at %s to timeline %" PRIu32 ": what was told behind that is undone.",
					  cdc->at.timeline, psti_lsn_print(left, point), now);
	psti_error_hint(err, PSTI_BEGIN_ANEW);
	return PST_ERR_STATE;
}

static pst_status
reset_beyond(pst_cdc *cdc, uint64_t left, uint32_t now, pst_error *err)
{
	pst_status status = PST_OK;

	for (size_t i = 0; status == PST_OK && i < cdc->at.nplaces; i++)
	{
		psti_place *place = &cdc->at.places[i];

		if (!is_read_beyond(cdc, place, left))
			continue;
		/* It cannot forget the rows that are undone. */
		if (cdc->consumer == PSTI_CONSUMER_UPSERT)
			return undone(cdc, "the position has rows", left, now, err);
		status = psti_capture_reset(cdc, place, "the server that it was read from has failed", err);
	}
	/* The horizons beyond are gone with their regions; WAL may not come that far for long. */
	if (cdc->at.complete_lsn > left)
		cdc->at.complete_lsn = left;
	return status;
}

static pst_status
check_timeline(pst_cdc *cdc, uint32_t now, pst_error *err)
{
	char told[PSTI_LSN_SIZE];
	char what[64];
	uint64_t left;
	pst_status status;

	if (now == cdc->at.timeline)
		return PST_OK;
	status = psti_slot_left(cdc->stream, now, cdc->at.timeline, &left, err);
	if (status != PST_OK)
		return status;
	/* One is behind what was told, the other is where the commit's record begins. */
	if (cdc->at.safe_lsn > left || cdc->at.commit_lsn >= left)
	{
		snprintf(what, sizeof(what), "the position %s is",
				 psti_lsn_print(cdc->at.commit_lsn >= left ? cdc->at.commit_lsn : cdc->at.safe_lsn,
								told));
		return undone(cdc, what, left, now, err);
	}
	status = reset_beyond(cdc, left, now, err);
	cdc->at.timeline = now;
	/* Messages that begin there are others. */
	if (cdc->at.message_lsn >= left)
		cdc->at.message_lsn = left - 1;
	return status;
}

/* Numbers in a transaction count what pgoutput sends: until its end the publication stays what it is. */
static bool
is_in_transaction(const pst_cdc *cdc)
{
	return cdc->plain && cdc->at.commit_lsn != 0;
}

/*
 * Tables that have come into scope are read, those that have left it are forgotten. Of a plain stream they are
 * taken up when it is at work (watch.c): one that cannot be published yet waits there.
 */
static pst_status
match_scope(pst_cdc *cdc, pst_error *err)
{
	for (size_t i = cdc->at.nplaces; i-- > 0;)
	{
		const psti_place *place = &cdc->at.places[i];
		bool here = psti_scope_subject(&cdc->scope, place->oid) != NULL;

		/* One that was gone may be back: it is a new one. */
		if (place->gone ? here && !cdc->plain : !here)
			psti_position_remove(&cdc->at, place->oid);
	}
	if (cdc->plain)
		return PST_OK;
	return add_places(cdc, cdc->startup != PSTI_STARTUP_INITIAL, err);
}

static bool
is_all_read(const pst_cdc *cdc)
{
	for (size_t i = 0; i < cdc->at.nplaces; i++)
		if (!psti_place_is_read(&cdc->at.places[i]))
			return false;
	return true;
}

/* Before the output plugin is chosen anew. */
static pst_status
check_home(const pst_cdc *cdc, const psti_slot *slot, const char *system, pst_error *err)
{
	const char *database = psti_conn_caps(cdc->conn)->database;

	if (strcmp(cdc->at.system, system) != 0)
		return other_capture(err, "server", cdc->at.system, system);
	if (strcmp(cdc->at.database, database) != 0)
		return other_capture(err, "database", cdc->at.database, database);
	return cdc->at.stage == PSTI_STAGE_CREATING ? psti_slot_check_half_made(slot, &cdc->at, err)
												: PST_OK;
}

/* The slot is about to be made, or half made. Nothing was told yet: the options may be others. */
static pst_status
make_again(pst_cdc *cdc, const psti_slot *slot, uint32_t timeline, pst_error *err)
{
	pst_status status = make_fingerprint(cdc, &cdc->at.options, err);

	cdc->step = PSTI_STEP_TELL;
	cdc->at.timeline = timeline;
	cdc->half_made = slot->there;
	cdc->maker = cdc->at.maker;
	return status == PST_OK ? add_places(cdc, cdc->startup != PSTI_STARTUP_INITIAL, err) : status;
}

/* Tables that other columns are wanted of now than were told are read anew. */
static pst_status
match_columns(pst_cdc *cdc, pst_error *err)
{
	pst_status status = PST_OK;

	for (size_t i = 0; status == PST_OK && i < cdc->at.nplaces; i++)
	{
		psti_place *place = &cdc->at.places[i];
		const psti_subject *subject = psti_scope_subject(&cdc->scope, place->oid);
		uint64_t hash = PSTI_HASH_INIT;

		if (subject == NULL || place->gone || place->columns == 0)
			continue;
		for (size_t k = 0; k < subject->ncolumns; k++)
			hash = psti_hash_text(hash, subject->columns[k]);
		if (hash != place->columns)
			status = psti_capture_reset(cdc, place, "other columns of it are captured now", err);
	}
	return status;
}

/* Whether the position was taken with other columns; PST_ERR_INVALID: with other options. */
static pst_status
check_options(pst_cdc *cdc, bool *columns, pst_error *err)
{
	char *options = NULL;

	*columns = false;
	if (make_fingerprint(cdc, &options, err) != PST_OK)
		return err->status;
	if (strncmp(options, cdc->at.options, FINGERPRINT_FIXED) != 0)
	{
		free(options);
		psti_fail(err, PST_ERR_INVALID, "the position was taken with other options");
		psti_error_hint(err,
						"Give cdc.operations, cdc.origin, cdc.partitions and, where it is plain, "
						"cdc.messages as they were, or begin anew.");
		return PST_ERR_INVALID;
	}
	*columns = strcmp(options, cdc->at.options) != 0;
	free(cdc->at.options);
	cdc->at.options = options;
	return PST_OK;
}

static pst_status
go_on(pst_cdc *cdc, const psti_slot *slot, uint32_t timeline, pst_error *err)
{
	bool columns;
	pst_status status;

	if (cdc->at.stage == PSTI_STAGE_CREATING)
		return make_again(cdc, slot, timeline, err);
	status = check_options(cdc, &columns, err);
	if (status != PST_OK)
		return status;
	status = psti_slot_check(slot, &cdc->at, (int64_t) cdc->ack_delay, err);
	if (status == PST_OK)
		status = check_timeline(cdc, timeline, err);
	if (status == PST_OK)
		status = match_scope(cdc, err);
	if (status == PST_OK && columns && cdc->startup == PSTI_STARTUP_INITIAL)
		status = match_columns(cdc, err);
	cdc->step = PSTI_STEP_GO_ON;
	if (!is_all_read(cdc))
		cdc->at.stage = PSTI_STAGE_SNAPSHOT;
	return status == PST_OK ? psti_capture_judged(cdc, err) : status;
}

/* Servers look for it as it was at each change; from 18 on they pass over the changes where it was not. */
static pst_status
check_publication(pst_cdc *cdc, pst_error *err)
{
	char safe[PSTI_LSN_SIZE];
	uint32_t oid;
	pst_status status = psti_publication_find(cdc->conn, cdc->publication, &oid, err);

	if (status != PST_OK)
		return status;
	/* Positions that do not tell take the one that is there for theirs. */
	if (oid != 0 && (cdc->at.publication == 0 || oid == cdc->at.publication))
	{
		cdc->at.publication = oid;
		return PST_OK;
	}
	if (oid == 0)
		psti_fail(err, PST_ERR_STATE, "there is no publication \"%s\"", cdc->publication);
	else
		psti_fail(err, PST_ERR_STATE, "publication \"%s\" is not the one of the position",
				  cdc->publication);
	psti_error_detail(err,
					  "%s tells nothing of the changes from %s on, where slot \"%s\" stands, that "
					  "lie before it.",
					  oid == 0 ? "One that is made now" : "It was dropped and made again, and",
					  psti_lsn_print(cdc->at.safe_lsn, safe), cdc->at.slot);
	psti_error_hint(err, "Name the one that the slot was used with by publication.name. If it was "
						 "dropped, its changes are lost. " PSTI_BEGIN_ANEW);
	return PST_ERR_STATE;
}

/* ---- Opening ---- */

static pst_status
check_server(const pst_cdc *cdc, pst_error *err)
{
	const psti_caps *caps = psti_conn_caps(cdc->conn);

	if (caps->server_version < 100000)
	{
		psti_fail(err, PST_ERR_UNSUPPORTED, "change capture needs PostgreSQL 10 or newer");
		psti_error_detail(err, "The server is of version %d.%d.", caps->server_version / 10000,
						  caps->server_version / 100 % 100);
		psti_error_hint(err, "Read its tables again and again, or upgrade it.");
		return PST_ERR_UNSUPPORTED;
	}
	if (caps->in_recovery && caps->server_version < 160000 && cdc->startup != PSTI_STARTUP_SNAPSHOT)
	{
		psti_fail(err, PST_ERR_UNSUPPORTED, "a standby has no slots before PostgreSQL 16");
		psti_error_hint(err, "Capture from the primary (target_session_attrs=read-write).");
		return PST_ERR_UNSUPPORTED;
	}
	return PST_OK;
}

static void
explain_replication(pst_error *err)
{
	if (err->hint[0] == '\0' && (err->status == PST_ERR_PRIVILEGE || err->status == PST_ERR_AUTH))
		psti_error_hint(err,
						"Run ALTER ROLE … REPLICATION (on managed servers grant rds_replication or "
						"its like), and let pg_hba.conf allow the database's connections.");
}

static pst_status
open_stream(pst_cdc *cdc, char *system, size_t size, uint32_t *timeline, pst_error *err)
{
	uint64_t end = 0;
	pst_status status;

	if (cdc->startup == PSTI_STARTUP_SNAPSHOT && !cdc->resumed)
	{
		snprintf(system, size, "%s", psti_conn_caps(cdc->conn)->system_identifier);
		*timeline = 0;
		return psti_conn_open(cdc->options, NULL, &cdc->hooks, &cdc->stream, err);
	}
	status = psti_conn_open_replication(cdc->options, &cdc->hooks, &cdc->stream, err);
	if (status == PST_OK)
		status = psti_slot_identify(cdc->stream, system, size, timeline, &end, err);
	if (status != PST_OK)
		explain_replication(err);
	cdc->server_end = end;
	/* Bytes without an encoding come as they are: the server's error would name no column. */
	if (status == PST_OK && strcmp(psti_conn_caps(cdc->conn)->encoding, "SQL_ASCII") == 0)
		status = psti_conn_exec(cdc->stream, "choosing the encoding",
								"SET client_encoding = 'SQL_ASCII'", NULL, err);
	return status;
}

static pst_status
find_stop(pst_cdc *cdc, pst_error *err)
{
	const char *text = psti_opt_text(cdc->options, PSTI_OPT_STOP_AT);
	uint64_t xid;

	if (text == NULL)
		return PST_OK;
	/* A standby has what it has. */
	if (strcmp(text, "current") == 0 && psti_conn_caps(cdc->conn)->in_recovery)
	{
		cdc->stop_lsn = cdc->server_end;
		return PST_OK;
	}
	if (strcmp(text, "current") == 0)
		return psti_moment_flush(cdc->conn, &xid, &cdc->stop_lsn, err);
	if (psti_lsn_parse(text, &cdc->stop_lsn) && cdc->stop_lsn != 0)
		return PST_OK;
	psti_opt_fail(cdc->options, PSTI_OPT_STOP_AT, err, "is no place in WAL: \"%s\"", text);
	psti_error_hint(err, "Give an LSN, such as 16/B374D848, or current.");
	return PST_ERR_INVALID;
}

static pst_status
make_rows(pst_cdc *cdc, pst_error *err)
{
	const psti_rows_limits limits = {
		.rows = (size_t) psti_opt_int(cdc->options, PSTI_OPT_BATCH_ROWS),
		.bytes = (size_t) psti_opt_int(cdc->options, PSTI_OPT_BATCH_BYTES),
		.special = (psti_special) psti_opt_int(cdc->options, PSTI_OPT_SPECIAL_VALUES)};

	return psti_rows_new(&limits, &cdc->rows, err);
}

static pst_status
parse_position(pst_cdc *cdc, const char *position, pst_error *err)
{
	if (position == NULL)
		return PST_OK;
	if (cdc->startup == PSTI_STARTUP_SNAPSHOT)
	{
		psti_fail(err, PST_ERR_INVALID, "scan.startup.mode=snapshot cannot go on at a position");
		psti_error_detail(err, "It reads the tables at one moment, which has passed.");
		psti_error_hint(err, "Begin anew, without the position.");
		return PST_ERR_INVALID;
	}
	cdc->resumed = true;
	return psti_position_parse(position, &cdc->at, err);
}

static pst_status
connect_all(pst_cdc *cdc, char *system, size_t size, uint32_t *timeline, psti_slot *slot,
			pst_error *err)
{
	const char *datetimes;
	pst_status status = psti_conn_open(cdc->options, NULL, &cdc->hooks, &cdc->conn, err);

	if (status == PST_OK)
		status = check_server(cdc, err);
	if (status != PST_OK)
		return status;
	datetimes = PQparameterStatus(psti_conn_pg(cdc->conn), "integer_datetimes");
	cdc->rules.integer_datetimes = datetimes == NULL || strcmp(datetimes, "on") == 0;
	cdc->rules.server_version = psti_conn_caps(cdc->conn)->server_version;
	status = psti_moment_assisted(cdc->conn, &cdc->extension, err);
	if (psti_opt_int(cdc->options, PSTI_OPT_TRANSPORT) == PSTI_TRANSPORT_PLAIN)
		cdc->extension = false;
	if (status == PST_OK)
		status = psti_moment_next_xid(cdc->conn, &cdc->near_xid, err);
	if (status == PST_OK)
		status = choose_name(cdc, err);
	if (status == PST_OK)
		status = psti_slot_find(cdc->conn, cdc->at.slot, slot, err);
	if (status == PST_OK)
		status = open_stream(cdc, system, size, timeline, err);
	return status;
}

pst_status
psti_opening(pst_cdc *cdc, const char *const *keys, const char *const *values, const char *position,
			 const pst_hooks *hooks, pst_error *err)
{
	char system[64] = "";
	uint32_t timeline = 0;
	psti_slot slot;
	pst_status status = read_options(cdc, keys, values, hooks, err);

	if (status == PST_OK)
		status = parse_position(cdc, position, err);
	if (status == PST_OK)
		status = psti_scope_init(&cdc->scope, cdc->options, &cdc->hooks, false, err);
	if (status == PST_OK)
		status = connect_all(cdc, system, sizeof(system), &timeline, &slot, err);
	if (status == PST_OK && cdc->resumed)
		status = check_home(cdc, &slot, system, err);
	if (status == PST_OK)
		status = choose_plugin(cdc, &slot, err);
	if (status == PST_OK)
		status = psti_scope_find(&cdc->scope, cdc->conn, err);
	if (status == PST_OK)
		status = make_rows(cdc, err);
	if (status != PST_OK)
		return status;
	cdc->publication = psti_opt_given(cdc->options, PSTI_OPT_PUBLICATION)
						   ? psti_opt_text(cdc->options, PSTI_OPT_PUBLICATION)
						   : cdc->at.slot;
	if (cdc->resumed)
		status = go_on(cdc, &slot, timeline, err);
	else
	{
		cdc->at.timeline = timeline;
		status = set_text(&cdc->at.system, system, err);
		if (status == PST_OK)
			status = set_text(&cdc->at.database, psti_conn_caps(cdc->conn)->database, err);
		if (status == PST_OK)
			status = make_fingerprint(cdc, &cdc->at.options, err);
		if (status == PST_OK)
			status = begin_new(cdc, &slot, err);
	}
	if (status == PST_OK && cdc->plain && cdc->step == PSTI_STEP_GO_ON)
		status = check_publication(cdc, err);
	cdc->acked = cdc->at.safe_lsn;
	return status == PST_OK ? find_stop(cdc, err) : status;
}

/* ---- Creating ---- */

pst_status
psti_opening_publish(pst_cdc *cdc, const uint32_t *tables, size_t ntables, bool *changed,
					 pst_error *err)
{
	psti_publication wanted = {.name = cdc->publication,
							   .tables = tables,
							   .ntables = ntables,
							   .operations = PSTI_PUBLISH_ALL & ~cdc->wanted.left_out};

	return psti_publication_ensure(cdc->conn, &wanted, changed, err);
}

/* What pgoutput sends changes of: committed before the slot is made. Other tables wait (watch.c). */
static pst_status
publish(pst_cdc *cdc, pst_error *err)
{
	uint32_t *tables;
	size_t n = 0;
	bool changed;
	pst_status status;

	if (!cdc->plain)
		return PST_OK;
	tables = calloc(cdc->scope.n + 1, sizeof(*tables));
	if (tables == NULL)
		return psti_fail_nomem(err);
	for (size_t i = 0; i < cdc->scope.n; i++)
		if (psti_position_find(&cdc->at, cdc->scope.subjects[i].oid) != NULL)
			tables[n++] = cdc->scope.subjects[i].oid;
	status = psti_opening_publish(cdc, tables, n, &changed, err);
	free(tables);
	return status;
}

static pst_status
take_members(pst_cdc *cdc, psti_place *place, const uint32_t *members, size_t n, bool *any,
			 pst_error *err)
{
	const psti_subject *subject = psti_scope_subject(&cdc->scope, place->oid);
	bool left;
	pst_status status = psti_place_set_members(place, members, n, &left, err);

	if (status != PST_OK || !left || place->gone || subject == NULL)
		return status;
	*any = true;
	if (cdc->startup == PSTI_STARTUP_INITIAL)
		return psti_capture_reset(cdc, place, "it was taken out of the publication", err);
	psti_log(&cdc->hooks, PST_LOG_WARNING,
			 "table %s was taken out of publication \"%s\": its changes since are lost",
			 subject->qualified, cdc->publication);
	return PST_OK;
}

/*
 * Looks by what the publication has the tables. One that it has by nothing that it had it by before was taken
 * out, if only for a while: *left.
 */
static pst_status
look_at_members(pst_cdc *cdc, bool *left, pst_error *err)
{
	uint32_t *tables = calloc(cdc->at.nplaces + 1, sizeof(*tables));
	uint32_t *oids = NULL;
	psti_published *members = NULL;
	size_t n = 0;
	size_t from = 0;
	pst_status status = tables == NULL ? psti_fail_nomem(err) : PST_OK;

	*left = false;
	for (size_t i = 0; status == PST_OK && i < cdc->at.nplaces; i++)
		tables[i] = cdc->at.places[i].oid;
	if (status == PST_OK)
		status = psti_publication_members(cdc->conn, cdc->at.publication, tables, cdc->at.nplaces,
										  &members, &n, err);
	if (status == PST_OK && (oids = calloc(n + 1, sizeof(*oids))) == NULL)
		status = psti_fail_nomem(err);
	while (status == PST_OK && from < n)
	{
		psti_place *place = psti_position_find(&cdc->at, members[from].table);
		size_t noids = 0;

		for (; from < n && members[from].table == place->oid; from++)
			if (members[from].member != 0)
				oids[noids++] = members[from].member;
		status = take_members(cdc, place, oids, noids, left, err);
	}
	free(tables);
	free(oids);
	free(members);
	return status;
}

static bool
is_known(const psti_place *place)
{
	return !place->gone && psti_place_is_begun(place);
}

/*
 * Tables that the position knows were in the publication. One that is not any more has changes that were not
 * sent. Before 13 it may lack new partitions only, which are looked for later.
 */
static pst_status
restore_publication(pst_cdc *cdc, pst_error *err)
{
	bool leaves = cdc->rules.server_version < 130000;
	uint32_t *tables = calloc(cdc->at.nplaces + 1, sizeof(*tables));
	size_t n = 0;
	bool changed = false;
	pst_status status = tables == NULL ? psti_fail_nomem(err) : PST_OK;

	for (size_t i = 0; status == PST_OK && i < cdc->at.nplaces; i++)
	{
		const psti_place *place = &cdc->at.places[i];
		const psti_subject *subject = psti_scope_subject(&cdc->scope, place->oid);

		if (is_known(place) && subject != NULL && !(leaves && subject->relkind == 'p'))
			tables[n++] = place->oid;
	}
	if (status == PST_OK && n > 0)
		status = psti_opening_publish(cdc, tables, n, &changed, err);
	for (size_t i = 0; status == PST_OK && changed && i < cdc->at.nplaces; i++)
		if (is_known(&cdc->at.places[i]))
			status = psti_capture_reset(cdc, &cdc->at.places[i],
										"the publication was changed while nobody looked", err);
	free(tables);
	return status;
}

static pst_status
restore(pst_cdc *cdc, pst_error *err)
{
	bool left;
	pst_status status = look_at_members(cdc, &left, err);

	cdc->restore_due = false;
	if (status == PST_OK && cdc->startup == PSTI_STARTUP_INITIAL)
		status = restore_publication(cdc, err);
	if (status == PST_OK)
		status = publish(cdc, err);
	return status == PST_OK ? look_at_members(cdc, &left, err) : status;
}

pst_status
psti_opening_watch(pst_cdc *cdc, pst_error *err)
{
	bool left = cdc->restore_due;
	pst_status status = check_publication(cdc, err);

	if (status == PST_OK && !left)
		status = look_at_members(cdc, &left, err);
	return status == PST_OK && left ? restore(cdc, err) : status;
}

pst_status
psti_opening_go_on(pst_cdc *cdc, pst_error *err)
{
	pst_status status = cdc->plain ? check_publication(cdc, err) : PST_OK;

	cdc->restore_due = is_in_transaction(cdc);
	if (status == PST_OK && cdc->plain && !cdc->restore_due)
		status = restore(cdc, err);
	if (status != PST_OK)
		return status;
	cdc->step = is_all_read(cdc) ? PSTI_STEP_STREAM : PSTI_STEP_READ;
	return PST_OK;
}

/* One snapshot for all tables, without a slot. */
static pst_status
hold_snapshot(pst_cdc *cdc, pst_error *err)
{
	PGresult *result = NULL;
	pst_status status = psti_conn_exec(cdc->stream, "taking the snapshot",
									   "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; "
									   "SELECT pg_catalog.pg_export_snapshot()",
									   &result, err);

	if (status == PST_OK)
	{
		cdc->reading.export_id = strdup(PQgetvalue(result, 0, 0));
		status = cdc->reading.export_id == NULL ? psti_fail_nomem(err) : PST_OK;
	}
	PQclear(result);
	return status;
}

/* The server does not know the plugin, or is not let load it. */
static bool
plugin_refused(const pst_error *err)
{
	return strcmp(err->sqlstate, "58P01") == 0 || strcmp(err->sqlstate, "22023") == 0 ||
		   strcmp(err->sqlstate, "42501") == 0 || strcmp(err->sqlstate, "42704") == 0;
}

static psti_slot_recipe
make_recipe(const pst_cdc *cdc)
{
	return (psti_slot_recipe){.name = cdc->at.slot,
							  .plugin = cdc->at.plugin,
							  .temporary = cdc->temporary,
							  .failover = psti_opt_bool(cdc->options, PSTI_OPT_SLOT_FAILOVER),
							  .snapshot = cdc->startup == PSTI_STARTUP_INITIAL};
}

pst_status
psti_opening_tell(pst_cdc *cdc, pst_error *err)
{
	pst_status status = PST_OK;

	if (cdc->half_made)
		status = psti_slot_drop(cdc->conn, cdc->at.slot, cdc->maker, err);
	cdc->half_made = false;
	cdc->at.maker = PQbackendPID(psti_conn_pg(cdc->stream));
	if (status == PST_OK)
		status = psti_slot_before(cdc->conn, cdc->at.maker, &cdc->at.safe_lsn, &cdc->at.made, err);
	cdc->step = PSTI_STEP_CREATE;
	return status;
}

pst_status
psti_opening_create(pst_cdc *cdc, pst_error *err)
{
	psti_slot_recipe recipe;
	bool left;
	pst_status status = PST_OK;

	if (cdc->startup == PSTI_STARTUP_SNAPSHOT)
	{
		cdc->at.stage = PSTI_STAGE_SNAPSHOT;
		cdc->step = PSTI_STEP_READ;
		return hold_snapshot(cdc, err);
	}
	status = publish(cdc, err);
	if (status == PST_OK && cdc->plain)
		status = check_publication(cdc, err);
	if (status == PST_OK && cdc->plain)
		status = look_at_members(cdc, &left, err);
	recipe = make_recipe(cdc);
	if (cdc->may_fall_back && PSTI_FAILPOINT("cdc.plugin_refused"))
		recipe.plugin = "penstock_refused";
	if (status == PST_OK)
		status = psti_slot_create(cdc->stream, &recipe, err);
	psti_moment_begin_other(&cdc->patience);
	cdc->step = PSTI_STEP_CREATED;
	return status;
}

/* The server does not have the plugin: another one does it, less well. */
static pst_status
fall_back(pst_cdc *cdc, pst_error *err)
{
	pst_status status;

	psti_log(&cdc->hooks, PST_LOG_INFO, "capture is plain: %s", err->message);
	cdc->may_fall_back = false;
	status = use_plugin(cdc, PGOUTPUT, err);
	if (status == PST_OK)
		status = make_fingerprint(cdc, &cdc->at.options, err);
	if (status == PST_OK)
		status = psti_scope_find(&cdc->scope, cdc->conn, err);
	/* A slot of this plugin must be known for our own. */
	cdc->step = cdc->temporary ? PSTI_STEP_CREATE : PSTI_STEP_TELL;
	return status;
}

static pst_status
begin_at(pst_cdc *cdc, uint64_t consistent, pst_error *err)
{
	cdc->at.safe_lsn = consistent;
	cdc->at.complete_lsn = consistent;
	cdc->acked = consistent;
	(void) PSTI_FAILPOINT("cdc.slot_made");
	if (cdc->startup != PSTI_STARTUP_INITIAL)
	{
		cdc->at.stage = PSTI_STAGE_STREAM;
		cdc->step = PSTI_STEP_STREAM;
		return PST_OK;
	}
	cdc->at.stage = PSTI_STAGE_SNAPSHOT;
	cdc->step = PSTI_STEP_COVER;
	/* From here on the slot must stay: who can only upsert misses nothing then. */
	cdc->tell_store = cdc->consumer == PSTI_CONSUMER_UPSERT;
	return psti_moment_of_export(cdc->conn, cdc->reading.export_id, &cdc->slot_snapshot, err);
}

pst_status
psti_opening_created(pst_cdc *cdc, int timeout_ms, pst_error *err)
{
	int64_t deadline = timeout_ms < 0 ? -1 : psti_now_ms() + timeout_ms;
	psti_slot_recipe recipe = make_recipe(cdc);
	psti_waiting waiting = psti_capture_waiting(cdc);
	uint64_t consistent = 0;
	pst_status status = PST_AGAIN;

	while (status == PST_AGAIN)
	{
		int64_t left = deadline < 0 ? LOOK_MS : deadline - psti_now_ms();

		if (left < 0)
			return PST_AGAIN;
		status =
			psti_slot_created(cdc->stream, &recipe, left < LOOK_MS ? (int) left : LOOK_MS,
							  &consistent, recipe.snapshot ? &cdc->reading.export_id : NULL, err);
		if (status == PST_AGAIN && psti_moment_look(&waiting, &cdc->patience, err) != PST_OK)
		{
			psti_conn_give_up(cdc->stream);
			return err->status;
		}
		if (status == PST_AGAIN && deadline >= 0 && psti_now_ms() >= deadline)
			return PST_AGAIN;
	}
	cdc->patience.waiting = false;
	if (status < 0 && cdc->may_fall_back && plugin_refused(err) && psti_conn_usable(cdc->stream))
		return fall_back(cdc, err);
	return status == PST_OK ? begin_at(cdc, consistent, err) : status;
}

/* The slot's snapshot may see commits that no other session sees yet. */
pst_status
psti_opening_covered(pst_cdc *cdc, int timeout_ms, pst_error *err)
{
	psti_waiting waiting = psti_capture_waiting(cdc);
	pst_status status =
		psti_moment_cover(&waiting, &cdc->patience, &cdc->slot_snapshot, timeout_ms, err);

	if (status == PST_OK)
	{
		psti_snapshot_free(&cdc->slot_snapshot);
		cdc->step = PSTI_STEP_READ;
	}
	return status;
}
