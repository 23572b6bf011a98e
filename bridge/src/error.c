/* error.c - filling pst_error, and the table from SQLSTATE to status. */
#include "error.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "utf8.h"

typedef struct status_entry
{
	pst_status status;
	const char *name;
} status_entry;

static const status_entry status_names[] = {
	{PST_OK, "PST_OK"},
	{PST_END, "PST_END"},
	{PST_AGAIN, "PST_AGAIN"},
	{PST_ERR_INVALID, "PST_ERR_INVALID"},
	{PST_ERR_NOMEM, "PST_ERR_NOMEM"},
	{PST_ERR_CONNECTION, "PST_ERR_CONNECTION"},
	{PST_ERR_AUTH, "PST_ERR_AUTH"},
	{PST_ERR_PRIVILEGE, "PST_ERR_PRIVILEGE"},
	{PST_ERR_NOT_FOUND, "PST_ERR_NOT_FOUND"},
	{PST_ERR_EXISTS, "PST_ERR_EXISTS"},
	{PST_ERR_DATA, "PST_ERR_DATA"},
	{PST_ERR_CONSTRAINT, "PST_ERR_CONSTRAINT"},
	{PST_ERR_CONFLICT, "PST_ERR_CONFLICT"},
	{PST_ERR_RESOURCES, "PST_ERR_RESOURCES"},
	{PST_ERR_CANCELED, "PST_ERR_CANCELED"},
	{PST_ERR_TIMEOUT, "PST_ERR_TIMEOUT"},
	{PST_ERR_PROTOCOL, "PST_ERR_PROTOCOL"},
	{PST_ERR_UNSUPPORTED, "PST_ERR_UNSUPPORTED"},
	{PST_ERR_STATE, "PST_ERR_STATE"},
	{PST_ERR_SQL, "PST_ERR_SQL"},
	{PST_ERR_FENCED, "PST_ERR_FENCED"},
	{PST_ERR_UNKNOWN_OUTCOME, "PST_ERR_UNKNOWN_OUTCOME"},
	{PST_ERR_IO, "PST_ERR_IO"},
	{PST_ERR_SERVER, "PST_ERR_SERVER"},
};

/*
 * Exact codes stand before the classes that hold them; the first match counts. What may be retried
 * is DESIGN.md's section 7: connection failures but a protocol violation, serialization failures
 * and deadlocks, a server short of resources, shutting down, failing over or holding a lock, and a
 * prepared statement that a pooler has taken away. The meanings are those of the manual's
 * appendix "PostgreSQL Error Codes".
 */
typedef struct sqlstate_entry
{
	char prefix[6];
	pst_status status;
	bool retryable;
} sqlstate_entry;

static const sqlstate_entry sqlstates[] = {
	{"08P01", PST_ERR_PROTOCOL, false},
	{"08", PST_ERR_CONNECTION, true},
	{"0A", PST_ERR_UNSUPPORTED, false},
	{"0L", PST_ERR_PRIVILEGE, false},
	{"0P", PST_ERR_PRIVILEGE, false},
	{"21", PST_ERR_DATA, false},
	{"22", PST_ERR_DATA, false},
	{"23", PST_ERR_CONSTRAINT, false},
	{"25006", PST_ERR_STATE, true},	  /* read-only: a standby, or a failover under way */
	{"25P03", PST_ERR_TIMEOUT, true}, /* idle_in_transaction_session_timeout */
	{"25", PST_ERR_STATE, false},
	{"26000", PST_ERR_STATE, true}, /* a pooler has changed the server connection */
	{"28", PST_ERR_AUTH, false},
	{"3D000", PST_ERR_NOT_FOUND, false},
	{"3F000", PST_ERR_NOT_FOUND, false},
	{"40002", PST_ERR_CONSTRAINT, false},
	{"40003", PST_ERR_UNKNOWN_OUTCOME, false},
	{"40", PST_ERR_CONFLICT, true},
	{"42501", PST_ERR_PRIVILEGE, false},
	{"42P01", PST_ERR_NOT_FOUND, false},
	{"42703", PST_ERR_NOT_FOUND, false},
	{"42704", PST_ERR_NOT_FOUND, false},
	{"42883", PST_ERR_NOT_FOUND, false},
	{"42P04", PST_ERR_EXISTS, false},
	{"42P06", PST_ERR_EXISTS, false},
	{"42P07", PST_ERR_EXISTS, false},
	{"42701", PST_ERR_EXISTS, false},
	{"42710", PST_ERR_EXISTS, false},
	{"42", PST_ERR_SQL, false},
	{"44", PST_ERR_CONSTRAINT, false},
	{"53", PST_ERR_RESOURCES, true},
	{"54", PST_ERR_RESOURCES, false},
	{"55P03", PST_ERR_CONFLICT, true}, /* lock_timeout, NOWAIT */
	{"55", PST_ERR_STATE, false},
	{"57014", PST_ERR_CANCELED, false},
	{"57P04", PST_ERR_NOT_FOUND, false}, /* the database was dropped */
	{"57P05", PST_ERR_TIMEOUT, true},	 /* idle_session_timeout */
	{"57P", PST_ERR_CONNECTION, true},
	{"58030", PST_ERR_SERVER, false},
	{"XX", PST_ERR_SERVER, false},
};

pst_status
psti_sqlstate_status(const char *sqlstate, bool *retryable)
{
	*retryable = false;
	for (size_t i = 0; i < sizeof(sqlstates) / sizeof(sqlstates[0]); i++)
	{
		const sqlstate_entry *entry = &sqlstates[i];

		if (strncmp(sqlstate, entry->prefix, strlen(entry->prefix)) == 0)
		{
			*retryable = entry->retryable;
			return entry->status;
		}
	}
	return PST_ERR_SERVER;
}

const char *
pst_status_name(pst_status status)
{
	for (size_t i = 0; i < sizeof(status_names) / sizeof(status_names[0]); i++)
	{
		if (status_names[i].status == status)
			return status_names[i].name;
	}
	return "unknown status";
}

void
pst_free(void *text)
{
	free(text);
}

void
psti_enter(pst_error *full)
{
	memset(full, 0, sizeof(*full));
	full->struct_size = sizeof(*full);
	full->row = -1;
}

pst_status
psti_leave(pst_error *err, const pst_error *full, pst_status status)
{
	size_t size;

	if (err == NULL || status >= PST_OK)
		return status;
	size = err->struct_size;
	if (size < offsetof(pst_error, status) + sizeof(err->status))
		return status;
	if (size > sizeof(*full))
		size = sizeof(*full);
	memcpy((char *) err + sizeof(err->struct_size), (const char *) full + sizeof(full->struct_size),
		   size - sizeof(full->struct_size));
	return status;
}

/* The length of the longest prefix of at most max bytes that ends at a UTF-8 boundary. */
static size_t
utf8_clip(const char *text, size_t max)
{
	size_t n = max;

	while (n > 0 && ((unsigned char) text[n] & 0xC0) == 0x80)
		n--;
	return n;
}

/*
 * What is no UTF-8 becomes a question mark: libpq's own texts quote bytes of a broken protocol, and a
 * SQL_ASCII database's errors those of its data.
 */
void
psti_error_copy(char *field, size_t size, const char *text)
{
	size_t len = text == NULL ? 0 : strlen(text);
	size_t valid = 0;

	if (len >= size)
		len = utf8_clip(text, size - 1);
	if (len > 0)
		memmove(field, text, len);
	field[len] = '\0';
	while ((valid += psti_utf8_valid(field + valid, len - valid)) < len)
		field[valid++] = '?';
}

/* Formats into a field, cut at a UTF-8 boundary. */
static void format_into(char *field, size_t size, const char *fmt, va_list ap)
	__attribute__((format(printf, 3, 0)));

static void
format_into(char *field, size_t size, const char *fmt, va_list ap)
{
	char big[2048];
	int n = vsnprintf(big, sizeof(big), fmt, ap);

	if (n < 0)
		big[0] = '\0';
	psti_error_copy(field, size, big);
}

pst_status
psti_fail(pst_error *err, pst_status status, const char *fmt, ...)
{
	pst_error fresh;
	va_list ap;

	psti_enter(&fresh);
	fresh.status = status;
	va_start(ap, fmt);
	format_into(fresh.message, sizeof(fresh.message), fmt, ap);
	va_end(ap);
	*err = fresh;
	return status;
}

pst_status
psti_fail_sqlstate(pst_error *err, const char *sqlstate, const char *fmt, ...)
{
	pst_error fresh;
	va_list ap;

	psti_enter(&fresh);
	PSTI_ERROR_SET(&fresh, sqlstate, sqlstate);
	fresh.status = psti_sqlstate_status(sqlstate, &fresh.retryable);
	va_start(ap, fmt);
	format_into(fresh.message, sizeof(fresh.message), fmt, ap);
	va_end(ap);
	*err = fresh;
	return err->status;
}

pst_status
psti_fail_nomem(pst_error *err)
{
	return psti_fail(err, PST_ERR_NOMEM, "out of memory");
}

void
psti_error_detail(pst_error *err, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	format_into(err->detail, sizeof(err->detail), fmt, ap);
	va_end(ap);
}

void
psti_error_hint(pst_error *err, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	format_into(err->hint, sizeof(err->hint), fmt, ap);
	va_end(ap);
}

void
psti_error_prefix(pst_error *err, const char *fmt, ...)
{
	char prefix[sizeof(err->message)];
	char joined[2 * sizeof(err->message) + 2];
	va_list ap;

	va_start(ap, fmt);
	format_into(prefix, sizeof(prefix), fmt, ap);
	va_end(ap);
	snprintf(joined, sizeof(joined), "%s: %s", prefix, err->message);
	psti_error_copy(err->message, sizeof(err->message), joined);
}

bool
psti_size_mul(size_t a, size_t b, size_t *out)
{
	return !__builtin_mul_overflow(a, b, out);
}
