/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the place can show that our output goes to, and drawing over what is there. */
#ifndef TCPLAT_SINK_TERMINAL_H
#define TCPLAT_SINK_TERMINAL_H

#include <stdbool.h>

#include "sink/out.h"

struct terminal {
	bool live;	 /* a terminal that can be drawn over: TERM is set, and not dumb */
	bool colour;	 /* live, and NO_COLOR is not set */
	bool utf8;	 /* block characters, by LC_ALL, LC_CTYPE or LANG */
	unsigned width;	 /* columns: of the terminal, else COLUMNS, else 80 */
	unsigned height; /* lines: of the terminal, else 24 */
};

/* As it is now: a window may have changed its size. */
void terminal_look(struct terminal *t, const struct out *out);

/*
 * Clears so many lines above the cursor, which were drawn last, to draw them
 * anew; what is above them stays. Until terminal_drawn(), lines that are too
 * long are cut off at the edge: a wrapped one would be more lines than we count.
 */
void terminal_draw(struct out *out, unsigned lines);
void terminal_drawn(struct out *out);

#endif /* TCPLAT_SINK_TERMINAL_H */
