LDLIBS_cli := -lnftnl -lmnl
