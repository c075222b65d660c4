/* SPDX-License-Identifier: MIT */
/*
 * What a terminal of 80x25 would show now: screen [ROWS] <OUTPUT >TEXT
 *
 * Takes what a program has sent to a terminal and prints the text that stands on its screen,
 * without colours, trailing blanks removed. It knows what installers, boot loaders and firmware
 * use of ECMA-48: placing the cursor, erasing, the scrolling region, line drawing (which becomes
 * plain characters). Everything else is passed over.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COLS 80
#define MAX_ROWS 60
#define MAX_PARAMS 8

struct screen {
	char cell[MAX_ROWS][COLS];
	int rows;
	int row, col; /* col may be COLS: the next character wraps */
	int saved_row, saved_col;
	int top, bottom; /* of the scrolling region, both within it */
	bool graphics[2]; /* G0, G1: is it the set for line drawing? */
	int shift; /* which of the two is in use */
};

static int clamp(int value, int low, int high)
{
	return value < low ? low : value > high ? high : value;
}

static void blank(struct screen *s, int row, int from, int to)
{
	if (from < to)
		memset(&s->cell[row][from], ' ', (size_t)(to - from));
}

static void erase_rows(struct screen *s, int from, int to)
{
	for (int row = from; row < to; row++)
		blank(s, row, 0, COLS);
}

/* Moves the lines from `from` to the region's end: n > 0 upwards, n < 0 downwards. */
static void scroll(struct screen *s, int from, int n)
{
	int lines = s->bottom - from + 1, kept;

	n = clamp(n, -lines, lines);
	kept = lines - abs(n);
	if (n > 0) {
		memmove(s->cell[from], s->cell[from + n], (size_t)kept * COLS);
		erase_rows(s, s->bottom + 1 - n, s->bottom + 1);
	} else {
		memmove(s->cell[from - n], s->cell[from], (size_t)kept * COLS);
		erase_rows(s, from, from - n);
	}
}

static void line_feed(struct screen *s)
{
	if (s->row == s->bottom)
		scroll(s, s->top, 1);
	else if (s->row < s->rows - 1)
		s->row++;
}

static void put(struct screen *s, int c)
{
	static const char drawn[] = "+#HFCL'+NV+++++-----++++|<>*!#.";

	/* The bytes of UTF-8 after the first take no room of their own. */
	if ((c & 0xc0) == 0x80)
		return;
	if (s->col >= COLS) {
		s->col = 0;
		line_feed(s);
	}
	if (c >= 0x80)
		c = '?';
	else if (s->graphics[s->shift] && c >= '`' && c <= '~')
		c = drawn[c - '`'];
	s->cell[s->row][s->col++] = (char)c;
}

static void erase(struct screen *s, int command, int what)
{
	int from = what ? 0 : s->col, to = what == 1 ? s->col + 1 : COLS;

	blank(s, s->row, from, clamp(to, 0, COLS));
	if (command == 'J' && what != 1)
		erase_rows(s, what ? 0 : s->row + 1, s->rows);
	if (command == 'J' && what != 0)
		erase_rows(s, 0, what == 1 ? s->row : s->rows);
}

static void control(struct screen *s, int command, const int *params)
{
	int n = params[0] ? params[0] : 1, i;

	switch (command) {
	case 'A':
		s->row -= n;
		break;
	case 'B':
	case 'e':
		s->row += n;
		break;
	case 'C':
	case 'a':
		s->col += n;
		break;
	case 'D':
		s->col -= n;
		break;
	case 'G':
	case '`':
		s->col = n - 1;
		break;
	case 'd':
		s->row = n - 1;
		break;
	case 'H':
	case 'f':
		s->row = n - 1;
		s->col = (params[1] ? params[1] : 1) - 1;
		break;
	case 'J':
	case 'K':
		erase(s, command, params[0]);
		break;
	case 'X':
		blank(s, s->row, s->col, clamp(s->col + n, 0, COLS));
		break;
	case 'L':
	case 'M':
		if (s->row >= s->top && s->row <= s->bottom)
			scroll(s, s->row, command == 'M' ? n : -n);
		break;
	case 'P':
		for (i = s->col; i < COLS; i++)
			s->cell[s->row][i] = i + n < COLS ? s->cell[s->row][i + n] : ' ';
		break;
	case 'r':
		s->top = clamp(n - 1, 0, s->rows - 1);
		s->bottom = clamp((params[1] ? params[1] : s->rows) - 1, s->top, s->rows - 1);
		s->row = s->col = 0;
		break;
	}
	s->row = clamp(s->row, 0, s->rows - 1);
	s->col = clamp(s->col, 0, COLS - 1);
}

/* CSI: parameters, then the command. Private ones, with a '?' or the like, change no text. */
static void control_sequence(struct screen *s)
{
	int params[MAX_PARAMS] = { 0 }, n = 0, c;
	bool private = false;

	while ((c = getchar()) != EOF && (c < 0x40 || c > 0x7e)) {
		if (c >= '0' && c <= '9')
			params[n] = clamp(params[n] * 10 + c - '0', 0, 9999);
		else if (c == ';' && n < MAX_PARAMS - 1)
			n++;
		else if (c != ';')
		private = true;
	}
	if (c != EOF && !private)
		control(s, c, params);
}

static void escape(struct screen *s)
{
	int c = getchar();

	switch (c) {
	case '[':
		control_sequence(s);
		break;
	case '(':
	case ')':
		s->graphics[c == ')'] = getchar() == '0';
		break;
	case '%':
	case '#':
		getchar();
		break;
	case '7':
		s->saved_row = s->row;
		s->saved_col = s->col;
		break;
	case '8':
		s->row = s->saved_row;
		s->col = s->saved_col;
		break;
	case 'D':
		line_feed(s);
		break;
	case 'M':
		if (s->row == s->top)
			scroll(s, s->top, -1);
		else if (s->row > 0)
			s->row--;
		break;
	case 'c':
		erase_rows(s, 0, s->rows);
		s->row = s->col = s->top = s->shift = 0;
		s->bottom = s->rows - 1;
		s->graphics[0] = s->graphics[1] = false;
		break;
	}
}

static void take(struct screen *s, int c)
{
	switch (c) {
	case 033:
		escape(s);
		break;
	case '\r':
		s->col = 0;
		break;
	case '\n':
		line_feed(s);
		break;
	case '\b':
		s->col -= s->col > 0;
		break;
	case '\t':
		s->col = clamp((s->col | 7) + 1, 0, COLS - 1);
		break;
	case 016:
	case 017:
		s->shift = c == 016;
		break;
	default:
		if (c >= ' ' && c != 0x7f)
			put(s, c);
	}
}

int main(int argc, char **argv)
{
	static struct screen s;
	int c, end;

	s.rows = argc > 1 ? clamp(atoi(argv[1]), 1, MAX_ROWS) : 25;
	s.bottom = s.rows - 1;
	erase_rows(&s, 0, s.rows);
	while ((c = getchar()) != EOF)
		take(&s, c);
	for (int row = 0; row < s.rows; row++) {
		for (end = COLS; end > 0 && s.cell[row][end - 1] == ' '; end--)
			;
		printf("%.*s\n", end, s.cell[row]);
	}
	return 0;
}
