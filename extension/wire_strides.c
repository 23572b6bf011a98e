/* wire/strides.c with the server's flags. */
#include "../wire/strides.c"
