/* PJSIP's build settings for a trunk.  Anything compiled against this build
 * must see the same file: it decides the size of PJSIP's structures.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef RECPROXY_CONFIG_SITE_H
#define RECPROXY_CONFIG_SITE_H

#define NDEBUG 1

/* Resident, with what it holds for PJMEDIA_MAX_SDP_MEDIA.  Two slots a bridged call; beyond it
 * PJSUA answers 486, so recproxy sets its own, lower limit and answers 503. */
#define PJSUA_MAX_CALLS 8192
#define PJSUA_MAX_ACC 256
#define PJSUA_MAX_CONF_PORTS 16400

#define PJ_HAS_IPV6 1

/* Nothing may wait for a name server, not even for the name of this machine. */
#define PJ_GETHOSTIP_DISABLE_LOCAL_RESOLUTION 1

#define PJ_IOQUEUE_MAX_HANDLES 4096
#define PJSIP_MAX_TSX_COUNT 65535
#define PJSIP_MAX_DIALOG_COUNT 65535

/* Also the size of the buffer that each sent message holds for 32 s. */
#define PJSIP_MAX_PKT_LEN 8192

/* Seconds that a connection has for its first whole message, and that one may
 * be idle; recproxy_links.c bounds the rest. */
#define PJSIP_TRANSPORT_SERVER_IDLE_TIME_FIRST 10
#define PJSIP_TRANSPORT_SERVER_IDLE_TIME 600

/* Connections that may wait to be accepted.  With five, a few dozen that come at
 * once keep everybody else waiting for seconds, until their SYN is sent again. */
#define PJ_SOMAXCONN 512
#define PJSIP_TCP_TRANSPORT_BACKLOG 512
#define PJSIP_TLS_TRANSPORT_BACKLOG 512

/* A listener would stop for good after fifty turns in a row that brought nobody in, and
 * recproxy_links.c lets nobody in whom it does not want. */
#define PJ_ACTIVESOCK_MAX_CONSECUTIVE_ACCEPT_ERROR 0x7fffffff

#define PJMEDIA_HAS_VIDEO 0

/* Keys are the RTP engine's business.  libsrtp is one for the whole process, and
 * two that start and stop it get in each other's way. */
#define PJMEDIA_HAS_SRTP 0

/* PJMEDIA sees one SDP only, the dummy: one media line, one format.  Each leg
 * holds a dozen copies of it, whose arrays have these sizes. */
#define PJMEDIA_MAX_SDP_FMT 8
#define PJMEDIA_MAX_SDP_MEDIA 4
#define PJMEDIA_MAX_SDP_BANDW 2

/* A dialog keeps its INVITE, its last response and the ACK; a step of 4,000
 * bytes leaves most of each step unused. */
#define PJSIP_POOL_LEN_DIALOG 2048
#define PJSIP_POOL_INC_DIALOG 1024
#define PJSIP_POOL_LEN_TDATA 2048
#define PJSIP_POOL_INC_TDATA 1024

#endif
