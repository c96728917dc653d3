"""cffi build script of the RTP engine."""

from cffi import FFI

ffibuilder = FFI()
ffibuilder.cdef("int recproxy_placeholder(void);")
ffibuilder.set_source("rtp._native", "static int recproxy_placeholder(void){return 0;}")
