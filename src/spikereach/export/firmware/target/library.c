/* What a compiler may call where there is no C library. */
#include <stddef.h>

void *memcpy(void *restrict to, const void *restrict from, size_t bytes);
void *memmove(void *to, const void *from, size_t bytes);
void *memset(void *to, int value, size_t bytes);

void *memcpy(void *restrict to, const void *restrict from, size_t bytes)
{
    return memmove(to, from, bytes);
}

void *memmove(void *to, const void *from, size_t bytes)
{
    char *a = to;
    const char *b = from;
    if (a < b) {
        while (bytes--) {
            *a++ = *b++;
        }
    } else {
        while (bytes--) {
            a[bytes] = b[bytes];
        }
    }
    return to;
}

void *memset(void *to, int value, size_t bytes)
{
    char *a = to;
    while (bytes--) {
        *a++ = (char)value;
    }
    return to;
}
