/* A simulator that needs 10 ms and goes wrong at random, as the environment variable FAULTS says (of 1000 runs):
   crashes, hangs, writes garbage or too few events. The events depend on the seed alone. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void pause_for(long milliseconds) {
    struct timespec span = {milliseconds / 1000, (milliseconds % 1000) * 1000000};
    nanosleep(&span, NULL);
}

int main(int count, char **words) {
    if (count != 5) return 2;
    unsigned long state = strtoul(words[1], NULL, 10);
    int events = atoi(words[2]), bad = atoi(words[3]);
    const char *faults = getenv("FAULTS");
    unsigned int chance = 0;
    FILE *source = fopen("/dev/urandom", "rb");
    if (!source || fread(&chance, sizeof chance, 1, source) != 1) return 2;
    fclose(source);
    if (bad) {
        fprintf(stderr, "this design always fails\n");
        return 3;
    }
    int wrong = chance % 1000 < (unsigned)(faults ? atoi(faults) : 0), kind = wrong ? chance / 1000 % 8 : 8;
    FILE *file = fopen(words[4], "w");
    if (!file) return 2;
    pause_for(5);
    if (kind == 0) {
        fprintf(file, "a,b\n1,");
        fflush(file);
        pause_for(3600000);
    }
    if (kind == 1 || kind == 2) raise(SIGSEGV);
    if (kind == 3 || kind == 4) {
        for (int k = 0; k < 64; k++) fputc((int)(chance >> (k % 24)) & 255, file);
        fclose(file);
        return 0;
    }
    fprintf(file, "a,b\n");
    for (int k = 0; k < (wrong ? events / 2 : events); k++) {
        for (int j = 0; j < 2; j++) {
            state = (state * 1103515245UL + 12345UL) % 2147483648UL;
            fprintf(file, j ? "%.9f\n" : "%.9f,", state / 2147483648.0);
        }
    }
    pause_for(5);
    return fclose(file) ? 2 : 0;
}
