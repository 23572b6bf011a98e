/* wire/arrow_flat.c with the server's flags. */
#include "../wire/arrow_flat.c"
