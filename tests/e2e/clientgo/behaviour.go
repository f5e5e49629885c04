// SPDX-License-Identifier: GPL-2.0-or-later

package main

import (
	"fmt"
	"os"
	"runtime/debug"
	"sort"
	"strings"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilrand "k8s.io/apimachinery/pkg/util/rand"
)

// A trial is one behaviour in a namespace of its own. Its methods end it by a panic with a failure.
type trial struct {
	*client
	ns string
}
type failure string
type behaviour struct {
	name string
	do   func(*trial)
}

var behaviours []behaviour

func (t *trial) fail(format string, args ...interface{}) {
	panic(failure(fmt.Sprintf(format, args...)))
}

func (t *trial) must(err error) {
	if err != nil {
		t.fail("%v\n%s", err, where())
	}
}

// where names the line of the trial itself.
func where() string {
	for _, line := range strings.Split(string(debug.Stack()), "\n") {
		if strings.Contains(line, ".go:") && !strings.Contains(line, "behaviour.go") && !strings.Contains(line, "runtime/") {
			return strings.TrimSpace(line)
		}
	}
	return ""
}

func (t *trial) equal(what string, got, want interface{}) {
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.fail("%s: %v instead of %v\n%s", what, got, want, where())
	}
}

// refused wants an error of a kind.
func (t *trial) refused(what, kind string, err error) { t.equal(what, outcome(err), kind) }

func (t *trial) eventually(what string, done func() (bool, error)) { t.must(t.until(what, done)) }

// still asks for a while whether something stays as it is: it is the one thing that cannot be waited for.
func (t *trial) still(what string, so func() bool) {
	for i := 0; i < 20; i++ {
		if !so() {
			t.fail("%s: not any more\n%s", what, where())
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func (t *trial) run(b behaviour) (why string) {
	defer func() {
		if r := recover(); r != nil {
			if f, ok := r.(failure); ok {
				why = string(f)
			} else {
				why = fmt.Sprintf("%v\n%s", r, debug.Stack())
			}
		}
	}()
	_, err := t.typed.CoreV1().Namespaces().Create(t.ctx, &v1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: t.ns}}, metav1.CreateOptions{})
	t.must(err)
	// What a pod needs to start is there a moment later.
	t.eventually("the namespace has its ServiceAccount", func() (bool, error) {
		_, err := t.typed.CoreV1().ServiceAccounts(t.ns).Get(t.ctx, "default", metav1.GetOptions{})
		return err == nil, nil
	})
	b.do(t)
	t.must(t.typed.CoreV1().Namespaces().Delete(t.ctx, t.ns, metav1.DeleteOptions{}))
	return ""
}

// behave runs the behaviours whose names contain an argument (all without), some at a time, and prints a line for each.
func behave(c *client) (string, error) {
	sort.Slice(behaviours, func(i, j int) bool { return behaviours[i].name < behaviours[j].name })
	var wg sync.WaitGroup
	var mu sync.Mutex
	slots := make(chan bool, 6)
	failed := 0
	for i, b := range behaviours {
		if c.arg(0) != "" && !strings.Contains(b.name, c.arg(0)) {
			continue
		}
		wg.Add(1)
		go func() {
			defer wg.Done()
			slots <- true
			t := &trial{client: c, ns: fmt.Sprintf("behave-%d-%s", i, utilrand.String(4))}
			why := t.run(b)
			<-slots
			mu.Lock()
			defer mu.Unlock()
			if why != "" {
				failed++
				fmt.Printf("not ok - %s\n    %s\n", b.name, strings.ReplaceAll(why, "\n", "\n    "))
				return
			}
			fmt.Println("ok - " + b.name)
		}()
	}
	wg.Wait()
	if failed > 0 {
		os.Exit(1)
	}
	return "", nil
}

func init() { cases["behave"] = behave }
