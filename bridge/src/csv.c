/* csv.c - the csv dialect's options. */
#include "csv.h"

pst_status
psti_csv_dialect_get(const psti_options *options, psti_csv_dialect *out, pst_error *err)
{
	const char *delimiter = psti_opt_text(options, PSTI_OPT_CSV_DELIMITER);
	const char *null = psti_opt_text(options, PSTI_OPT_CSV_NULL);

	if (delimiter == NULL || strlen(delimiter) != 1 || (unsigned char) delimiter[0] >= 0x80)
		return psti_opt_fail(options, PSTI_OPT_CSV_DELIMITER, err,
							 "must be a single one-byte character");
	if (strchr("\r\n\"", delimiter[0]) != NULL)
		return psti_opt_fail(options, PSTI_OPT_CSV_DELIMITER, err,
							 "cannot be a line break or the double quote");
	if (null == NULL)
		null = "";
	if (strpbrk(null, "\r\n\"") != NULL || strchr(null, delimiter[0]) != NULL)
		return psti_opt_fail(options, PSTI_OPT_CSV_NULL, err,
							 "cannot contain a line break, the double quote or the delimiter");
	*out = (psti_csv_dialect){
		.delimiter = delimiter[0],
		.header = psti_opt_bool(options, PSTI_OPT_CSV_HEADER),
		.null = null,
		.null_len = strlen(null),
	};
	return PST_OK;
}
