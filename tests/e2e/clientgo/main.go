// SPDX-License-Identifier: GPL-2.0-or-later

// Programs such as operators and node agents are made of, on client-go as Debian packages it: clientgo CASE [ARGUMENT...] does one
// thing against the cluster of $KUBECONFIG, prints what it saw on one line, and exits with 1 and a sentence when it did not go well.
package main

import (
	"context"
	"fmt"
	"os"
	"sort"
	"strings"
	"time"

	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

const patience = 150 * time.Second

type client struct {
	ctx     context.Context
	config  *rest.Config
	typed   kubernetes.Interface // speaks protobuf, as the daemons of Kubernetes do
	dynamic dynamic.Interface
	args    []string
}

var cases = map[string]func(*client) (string, error){
	"informers": informers, "metadata": metadataInformer, "leader": leader, "retry": retryOnConflict, "dynamic": dynamicObjects,
	"apply": applyConfigurations, "discovery": discover, "exec": execute, "portforward": portForward, "pages": pages,
	"errors": errorKinds, "csr": certificate, "events": recordEvents, "logs": followLogs, "token": tokens, "scale": scales,
	"node": nodeStatus, "evict": evict, "follow": follow, "retrywatch": retryWatch,
}

func main() {
	if len(os.Args) < 2 || cases[os.Args[1]] == nil {
		var names []string
		for name := range cases {
			names = append(names, name)
		}
		sort.Strings(names)
		fmt.Fprintln(os.Stderr, "usage: clientgo CASE [ARGUMENT...]; cases:", strings.Join(names, " "))
		os.Exit(2)
	}
	out, err := run(cases[os.Args[1]], os.Args[2:])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if out != "" {
		fmt.Println(out)
	}
}

func run(do func(*client) (string, error), args []string) (string, error) {
	config, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
	if err != nil {
		return "", err
	}
	config.QPS, config.Burst = 1000, 1000
	config.WarningHandler = rest.NoWarnings{}
	binary := rest.CopyConfig(config)
	binary.ContentType = "application/vnd.kubernetes.protobuf"
	binary.AcceptContentTypes = "application/vnd.kubernetes.protobuf"
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return do(&client{ctx: ctx, config: config, typed: kubernetes.NewForConfigOrDie(binary),
		dynamic: dynamic.NewForConfigOrDie(config), args: args})
}

// until asks again and again until the answer is yes.
func (c *client) until(what string, done func() (bool, error)) error {
	for {
		ok, err := done()
		if ok || err != nil {
			return err
		}
		select {
		case <-c.ctx.Done():
			return fmt.Errorf("waited in vain until %s", what)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (c *client) arg(n int) string {
	if n < len(c.args) {
		return c.args[n]
	}
	return ""
}
