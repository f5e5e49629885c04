# The service proxy needs libbpf and the skeletons of the kernel programs.
LDLIBS_proxy := -lbpf
GEN_proxy = $(B)/gen/bpf/proxy.skel.h
