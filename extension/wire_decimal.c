/* wire/decimal.c with the server's flags. */
#include "../wire/decimal.c"
