/* wire/arrow_type.c with the server's flags. */
#include "../wire/arrow_type.c"
