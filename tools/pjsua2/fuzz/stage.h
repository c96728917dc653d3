/* What the fuzz targets share: PJSUA with recproxy's module on a transport that
 * discards what is sent.  Nothing leaves the process.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef RECPROXY_STAGE_H
#define RECPROXY_STAGE_H

#include <pjsip.h>
#include <pjsua-lib/pjsua.h>
#include <stdint.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Calls are answered 200; the access list holds 127.0.0.0/8 and ::1. */
void stage_start(void);

/* A datagram from an address, through PJSIP's own way in. */
void stage_receive(const char *text, size_t size, const char *address);

/* The same, parsed only: NULL if it lacks what PJSIP's transport layer asks for. */
pjsip_rx_data *stage_parse(const char *text, size_t size);

/* Our tag of the last dialog; empty before the first one. */
const char *stage_tag(void);

/* The last request that was sent, as printed; empty before the first one. */
const char *stage_sent(void);

/* The last response that was sent, as printed; empty before the first one. */
const char *stage_answered(void);

/* Calls are not answered from now on. */
void stage_leave_calls(void);

/* The last call that came, whatever became of it; PJSUA_INVALID_ID before the first one. */
pjsua_call_id stage_call(void);

/* Take the numbers of what recproxy has held since. */
void stage_name_held(void);

/* One of these, whether it is held still or not; 0 if there is none. */
unsigned stage_held(unsigned which);

/* Let go of all of it, and of the calls: nothing may be left. */
void stage_let_go(void);

/* Let PJSIP do what is due. */
void stage_turn(int times);

/* How often PJSIP has asked the system for a name; it is never told. */
unsigned stage_names_asked(void);

/* The next line of `*text`, without its end. */
pj_str_t stage_line(const char **text, const char *end);

#endif
