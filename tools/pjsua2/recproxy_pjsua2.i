/* The extension module: PJSIP's own interface, and recproxy's functions.
 * SPDX-License-Identifier: GPL-2.0-or-later */
%module(directors="1") pjsua2

%include "pjsua2.i"

%{
#include "recproxy_sip.h"
%}

/* (const char *data, size_t size) takes a bytes object. */
%typemap(in) (const char *BYTES, size_t SIZE) {
    char *bytes_data;
    Py_ssize_t bytes_size;
    if (PyBytes_AsStringAndSize($input, &bytes_data, &bytes_size) != 0)
        SWIG_fail;
    $1 = bytes_data;
    $2 = (size_t)bytes_size;
}
%apply (const char *BYTES, size_t SIZE) { (const char *nets, size_t size) };
%apply (const char *BYTES, size_t SIZE) { (const char *data, size_t size) };

%include "recproxy_sip.h"
