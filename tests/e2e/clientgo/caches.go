// SPDX-License-Identifier: GPL-2.0-or-later

package main

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	kinformers "k8s.io/client-go/informers"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/metadata/metadatainformer"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/client-go/tools/pager"
	watchtools "k8s.io/client-go/tools/watch"
	"k8s.io/client-go/util/retry"
)

const namespace = "default"

func configMap(name string, n int) *v1.ConfigMap {
	return &v1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"test": "clientgo"}},
		Data: map[string]string{"n": fmt.Sprint(n)}}
}

// churn creates, changes and deletes from several goroutines at once; a third of the objects are left.
func (c *client) churn(prefix string, count int) error {
	maps := c.typed.CoreV1().ConfigMaps(namespace)
	var wg sync.WaitGroup
	var first atomic.Value
	for w := 0; w < 4; w++ {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := w; i < count; i += 4 {
				name := fmt.Sprintf("%s-%d", prefix, i)
				_, err := maps.Create(c.ctx, configMap(name, 0), metav1.CreateOptions{})
				if err == nil {
					_, err = maps.Update(c.ctx, configMap(name, i), metav1.UpdateOptions{})
				}
				if err == nil && i%3 != 0 {
					err = maps.Delete(c.ctx, name, metav1.DeleteOptions{})
				}
				if err != nil {
					first.CompareAndSwap(nil, err)
					return
				}
			}
		}()
	}
	wg.Wait()
	if err, ok := first.Load().(error); ok {
		return err
	}
	return nil
}

func versions(list []*v1.ConfigMap) map[string]string {
	m := map[string]string{}
	for _, o := range list {
		m[o.Name] = o.ResourceVersion
	}
	return m
}

// informers: what shared informers hold in the end is what a list shows, and every object was added and deleted as often as it was.
func informers(c *client) (string, error) {
	const count = 60
	var mu sync.Mutex
	balance := map[string]int{}
	factory := kinformers.NewSharedInformerFactoryWithOptions(c.typed, 0, kinformers.WithNamespace(namespace))
	maps := factory.Core().V1().ConfigMaps()
	note := func(obj interface{}, by int) {
		name := obj.(*v1.ConfigMap).Name
		mu.Lock()
		defer mu.Unlock()
		balance[name] += by
		if balance[name] < 0 || balance[name] > 1 {
			balance["wrong"]++
		}
	}
	if _, err := maps.Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(obj interface{}) { note(obj, 1) },
		DeleteFunc: func(obj interface{}) { note(obj, -1) },
	}); err != nil {
		return "", err
	}
	others := []cache.SharedIndexInformer{factory.Core().V1().Pods().Informer(), factory.Core().V1().Services().Informer(),
		factory.Discovery().V1().EndpointSlices().Informer(), factory.Core().V1().Secrets().Informer(),
		factory.Core().V1().Nodes().Informer(), factory.Apps().V1().Deployments().Informer()}
	factory.Start(c.ctx.Done())
	for kind, ok := range factory.WaitForCacheSync(c.ctx.Done()) {
		if !ok {
			return "", fmt.Errorf("%v never synced", kind)
		}
	}
	if err := c.churn("informed", count); err != nil {
		return "", err
	}
	selector := labels.SelectorFromSet(labels.Set{"test": "clientgo"})
	err := c.until("the cache shows what a list shows", func() (bool, error) {
		list, err := c.typed.CoreV1().ConfigMaps(namespace).List(c.ctx, metav1.ListOptions{LabelSelector: selector.String()})
		if err != nil {
			return false, err
		}
		var want []*v1.ConfigMap
		for i := range list.Items {
			want = append(want, &list.Items[i])
		}
		have, err := maps.Lister().ConfigMaps(namespace).List(selector)
		return reflect.DeepEqual(versions(have), versions(want)), err
	})
	if err != nil {
		return "", err
	}
	mu.Lock()
	defer mu.Unlock()
	left := 0
	for name, n := range balance {
		if strings.HasPrefix(name, "informed-") {
			left += n
		}
	}
	for _, i := range others {
		if !i.HasSynced() {
			return "", fmt.Errorf("an informer has lost its state")
		}
	}
	return fmt.Sprintf("left=%d wrong=%d", left, balance["wrong"]), nil
}

// follow: an informer outlives the API server. Writes go on until the file of the first argument appears, whatever refuses them.
func follow(c *client) (string, error) {
	factory := kinformers.NewSharedInformerFactoryWithOptions(c.typed, 0, kinformers.WithNamespace(namespace))
	maps := factory.Core().V1().ConfigMaps()
	maps.Informer()
	factory.Start(c.ctx.Done())
	factory.WaitForCacheSync(c.ctx.Done())
	acknowledged := map[string]string{}
	api := c.typed.CoreV1().ConfigMaps(namespace)
	for i := 0; !exists(c.arg(0)); i++ {
		name := fmt.Sprintf("followed-%d", i)
		got, err := api.Create(c.ctx, configMap(name, i), metav1.CreateOptions{})
		if err == nil {
			acknowledged[name] = got.ResourceVersion
		}
		select {
		case <-c.ctx.Done():
			return "", c.ctx.Err()
		case <-time.After(5 * time.Millisecond):
		}
	}
	err := c.until("everything acknowledged is in the cache", func() (bool, error) {
		for name, version := range acknowledged {
			o, err := maps.Lister().ConfigMaps(namespace).Get(name)
			if err != nil || o.ResourceVersion != version {
				return false, nil
			}
		}
		return len(acknowledged) > 10, nil
	})
	return "nothing lost", err
}

func metadataInformer(c *client) (string, error) {
	meta, err := metadata.NewForConfig(metadata.ConfigFor(c.config))
	if err != nil {
		return "", err
	}
	factory := metadatainformer.NewSharedInformerFactory(meta, 0)
	secrets := factory.ForResource(v1.SchemeGroupVersion.WithResource("secrets"))
	secrets.Informer()
	factory.Start(c.ctx.Done())
	factory.WaitForCacheSync(c.ctx.Done())
	secret := &v1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "meta", Labels: map[string]string{"seen": "yes"}},
		StringData: map[string]string{"password": "hidden"}}
	if _, err = c.typed.CoreV1().Secrets(namespace).Create(c.ctx, secret, metav1.CreateOptions{}); err != nil {
		return "", err
	}
	var seen runtime.Object
	err = c.until("the metadata arrives", func() (bool, error) {
		seen, err = secrets.Lister().ByNamespace(namespace).Get("meta")
		return err == nil, nil
	})
	if err != nil {
		return "", err
	}
	partial, ok := seen.(*metav1.PartialObjectMetadata)
	if !ok {
		return "", fmt.Errorf("a %T arrived", seen)
	}
	return partial.Labels["seen"], nil
}

// leader: one of two candidates leads; when it steps down the other one does.
func leader(c *client) (string, error) {
	var mu sync.Mutex
	var order []string
	candidate := func(id string) (context.CancelFunc, error) {
		ctx, cancel := context.WithCancel(c.ctx)
		lock := &resourcelock.LeaseLock{LeaseMeta: metav1.ObjectMeta{Name: "elected", Namespace: namespace},
			Client: c.typed.CoordinationV1(), LockConfig: resourcelock.ResourceLockConfig{Identity: id}}
		e, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{Lock: lock, ReleaseOnCancel: true,
			LeaseDuration: 15 * time.Second, RenewDeadline: 10 * time.Second, RetryPeriod: 200 * time.Millisecond,
			Callbacks: leaderelection.LeaderCallbacks{
				OnStartedLeading: func(context.Context) { mu.Lock(); defer mu.Unlock(); order = append(order, id) },
				OnStoppedLeading: func() {}}})
		if err == nil {
			go e.Run(ctx)
		}
		return cancel, err
	}
	led := func(n int) error {
		return c.until("there is a leader", func() (bool, error) { mu.Lock(); defer mu.Unlock(); return len(order) == n, nil })
	}
	stop, err := candidate("first")
	if err == nil {
		err = led(1)
	}
	if err != nil {
		return "", err
	}
	if _, err = candidate("second"); err != nil {
		return "", err
	}
	time.Sleep(time.Second)
	stop()
	err = led(2)
	mu.Lock()
	defer mu.Unlock()
	return strings.Join(order, " "), err
}

func retryOnConflict(c *client) (string, error) {
	maps := c.typed.CoreV1().ConfigMaps(namespace)
	if _, err := maps.Create(c.ctx, configMap("counter", 0), metav1.CreateOptions{}); err != nil {
		return "", err
	}
	var wg sync.WaitGroup
	var conflicts atomic.Int64
	errs := make(chan error, 8)
	patient := retry.DefaultRetry
	patient.Steps = 1000
	for w := 0; w < 8; w++ {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := 0; i < 20; i++ {
				if err := retry.OnError(patient, apierrors.IsConflict, func() error {
					o, err := maps.Get(c.ctx, "counter", metav1.GetOptions{})
					if err != nil {
						return err
					}
					var n int
					fmt.Sscan(o.Data["n"], &n)
					o.Data["n"] = fmt.Sprint(n + 1)
					_, err = maps.Update(c.ctx, o, metav1.UpdateOptions{})
					if apierrors.IsConflict(err) {
						conflicts.Add(1)
					}
					return err
				}); err != nil {
					errs <- err
					return
				}
			}
		}()
	}
	wg.Wait()
	select {
	case err := <-errs:
		return "", err
	default:
	}
	o, err := maps.Get(c.ctx, "counter", metav1.GetOptions{})
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s conflicts=%v", o.Data["n"], conflicts.Load() > 0), nil
}

// pages: the pager follows continue tokens, and nothing is twice or missing while others write.
func pages(c *client) (string, error) {
	maps := c.typed.CoreV1().ConfigMaps(namespace)
	for i := 0; i < 45; i++ {
		o := configMap(fmt.Sprintf("page-%02d", i), i)
		o.Labels = map[string]string{"paged": "yes"}
		if _, err := maps.Create(c.ctx, o, metav1.CreateOptions{}); err != nil {
			return "", err
		}
	}
	asked := 0
	p := pager.New(func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
		asked++
		if asked == 2 { // a list shows one moment, whatever happens between its pages
			if err := maps.Delete(ctx, "page-44", metav1.DeleteOptions{}); err != nil {
				return nil, err
			}
		}
		return maps.List(ctx, o)
	})
	p.PageSize = 10
	seen := map[string]bool{}
	err := p.EachListItem(c.ctx, metav1.ListOptions{LabelSelector: "paged=yes"}, func(obj runtime.Object) error {
		name := obj.(*v1.ConfigMap).Name
		if seen[name] {
			return fmt.Errorf("%s came twice", name)
		}
		seen[name] = true
		return nil
	})
	return fmt.Sprintf("%d in %d", len(seen), asked), err
}

// retryWatch: the watch of waiting tools goes on from where it was.
func retryWatch(c *client) (string, error) {
	maps := c.typed.CoreV1().ConfigMaps(namespace)
	o, err := maps.Create(c.ctx, configMap("watched", 0), metav1.CreateOptions{})
	if err != nil {
		return "", err
	}
	short := int64(1)
	started := 0
	w, err := watchtools.NewRetryWatcherWithContext(c.ctx, o.ResourceVersion, &cache.ListWatch{
		WatchFunc: func(options metav1.ListOptions) (watch.Interface, error) {
			started++
			options.TimeoutSeconds = &short // ends again and again
			options.FieldSelector = fields.OneTermEqualSelector("metadata.name", "watched").String()
			return maps.Watch(c.ctx, options)
		}})
	if err != nil {
		return "", err
	}
	defer w.Stop()
	var seen []string
	for i := 1; i <= 4; i++ {
		if _, err = maps.Update(c.ctx, configMap("watched", i), metav1.UpdateOptions{}); err != nil {
			return "", err
		}
		event := <-w.ResultChan()
		m, ok := event.Object.(*v1.ConfigMap)
		if !ok {
			return "", fmt.Errorf("%v: %v", event.Type, event.Object)
		}
		seen = append(seen, m.Data["n"])
		time.Sleep(700 * time.Millisecond)
	}
	return fmt.Sprintf("%s again=%v", strings.Join(seen, " "), started > 1), nil
}
