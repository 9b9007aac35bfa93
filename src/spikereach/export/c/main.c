/*
 * Runs the decoder over a file of spikes.
 *
 *   decoder SPIKES VELOCITIES         writes the velocity of each bin
 *   decoder check SPIKES VELOCITIES   compares with the velocities in a file, to the last bit
 *
 * SPIKES has DECODER_SPIKE_BYTES per bin: bit c % 8 of byte c / 8 is channel c. VELOCITIES has two
 * integers per bin, x and y, four bytes each in two's complement, lowest byte first.
 */
#include <stdio.h>
#include <string.h>

#include "decoder.h"

#define VELOCITY_BYTES 8

static decoder_state bits_state, events_state;

static void to_bytes(const int32_t velocity[2], unsigned char bytes[VELOCITY_BYTES])
{
    int i;

    for (i = 0; i < VELOCITY_BYTES; i++) {
        bytes[i] = (unsigned char)((uint32_t)velocity[i / 4] >> 8 * (i % 4) & 255u);
    }
}

/* The channels of a bin that have a spike. */
static uint16_t list(const uint8_t *spikes, uint16_t *channels)
{
    uint16_t channel, count = 0;

    for (channel = 0; channel < DECODER_CHANNELS; channel++) {
        if ((spikes[channel / 8] >> channel % 8 & 1) != 0) {
            channels[count++] = channel;
        }
    }
    return count;
}

/* Writes velocities, or compares them, given both as bits and as lists; 0 where all is well. */
static int run(FILE *spikes, FILE *velocities, int check)
{
    uint8_t bin[DECODER_SPIKE_BYTES];
    uint16_t channels[DECODER_CHANNELS];
    unsigned char made[VELOCITY_BYTES], again[VELOCITY_BYTES], golden[VELOCITY_BYTES];
    int32_t velocity[2];
    unsigned long bins = 0;

    decoder_init(&bits_state);
    decoder_init(&events_state);
    for (; fread(bin, 1, sizeof bin, spikes) == sizeof bin; bins++) {
        decoder_step(&bits_state, bin, velocity);
        to_bytes(velocity, made);
        if (!check) {
            if (fwrite(made, 1, sizeof made, velocities) != sizeof made) {
                fprintf(stderr, "error: the velocities cannot be written\n");
                return 1;
            }
            continue;
        }
        decoder_step_events(&events_state, channels, list(bin, channels), velocity);
        to_bytes(velocity, again);
        if (fread(golden, 1, sizeof golden, velocities) != sizeof golden) {
            fprintf(stderr, "error: there are fewer velocities than bins of spikes\n");
            return 1;
        }
        if (memcmp(made, golden, sizeof made) != 0 || memcmp(again, golden, sizeof again) != 0) {
            fprintf(stderr, "error: bin %lu has another velocity\n", bins);
            return 1;
        }
    }
    if (check && (bins == 0 || fgetc(velocities) != EOF)) {
        fprintf(stderr, "error: there are no spikes, or more velocities than bins of spikes\n");
        return 1;
    }
    if (check) {
        printf("%lu bins: all velocities agree to the last bit\n", bins);
    }
    return 0;
}

int main(int argc, char **argv)
{
    const int check = argc == 4 && strcmp(argv[1], "check") == 0;
    FILE *spikes, *velocities;
    int failed;

    if (argc != 3 + check) {
        fprintf(stderr, "usage: %s [check] SPIKES VELOCITIES\n", argv[0]);
        return 2;
    }
    spikes = fopen(argv[1 + check], "rb");
    if (spikes == NULL) {
        fprintf(stderr, "error: %s cannot be read\n", argv[1 + check]);
        return 1;
    }
    velocities = fopen(argv[2 + check], check ? "rb" : "wb");
    if (velocities == NULL) {
        fprintf(stderr, "error: %s cannot be opened\n", argv[2 + check]);
        fclose(spikes);
        return 1;
    }
    failed = run(spikes, velocities, check);
    fclose(spikes);
    if (fclose(velocities) != 0 && !failed) {
        fprintf(stderr, "error: the velocities cannot be written\n");
        failed = 1;
    }
    return failed;
}
