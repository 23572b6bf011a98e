/* wire/arrow_ipc.c with the server's flags. */
#include "../wire/arrow_ipc.c"
