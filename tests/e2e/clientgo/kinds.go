// SPDX-License-Identifier: GPL-2.0-or-later

package main

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/yaml"
)

// One object of each kind that can be made, without metadata.name.
//
//go:embed samples.yaml
var samples string

func init() {
	for _, document := range strings.Split(samples, "\n---\n") {
		var object map[string]interface{}
		if err := yaml.Unmarshal([]byte(document), &object); err != nil {
			panic(err)
		}
		o := &unstructured.Unstructured{Object: object}
		behaviours = append(behaviours, behaviour{"every verb of " + o.GetAPIVersion() + " " + o.GetKind(),
			func(t *trial) { t.everyVerb(o.DeepCopy()) }})
	}
	behaviours = append(behaviours, behaviour{"every kind has been tried", everyKind})
}

// everyKind: a kind that is served and listed has its sample above.
func everyKind(t *trial) {
	known := map[string]bool{"v1 ComponentStatus": true, "v1 Node": true} // read only; made by nodes (case "node")
	for _, document := range strings.Split(samples, "\n---\n") {
		var object map[string]interface{}
		t.must(yaml.Unmarshal([]byte(document), &object))
		known[fmt.Sprint(object["apiVersion"], " ", object["kind"])] = true
	}
	_, lists, err := discovery.NewDiscoveryClientForConfigOrDie(t.config).ServerGroupsAndResources()
	t.must(err)
	for _, list := range lists {
		for _, r := range list.APIResources {
			if strings.Contains(strings.Join(r.Verbs, " "), "list") && !known[list.GroupVersion+" "+r.Kind] {
				t.fail("no sample of %s %s", list.GroupVersion, r.Kind)
			}
		}
	}
}

func (t *trial) resourceOf(o *unstructured.Unstructured) (metav1.APIResource, schema.GroupVersionResource, map[string]bool) {
	list, err := discovery.NewDiscoveryClientForConfigOrDie(t.config).ServerResourcesForGroupVersion(o.GetAPIVersion())
	t.must(err)
	var found metav1.APIResource
	below := map[string]bool{}
	for _, r := range list.APIResources {
		if r.Kind == o.GetKind() && !strings.Contains(r.Name, "/") {
			found = r
		}
	}
	for _, r := range list.APIResources {
		if rest, ok := strings.CutPrefix(r.Name, found.Name+"/"); ok {
			below[rest] = true
		}
	}
	gv, err := schema.ParseGroupVersion(o.GetAPIVersion())
	t.must(err)
	return found, gv.WithResource(found.Name), below
}

// next is the next event of an object, whatever happens to others.
func (t *trial) next(w watch.Interface, name string) watch.Event {
	for {
		select {
		case e, ok := <-w.ResultChan():
			if !ok {
				t.fail("the watch ended")
			}
			o, ok := e.Object.(*unstructured.Unstructured)
			if !ok {
				t.fail("%v: %v", e.Type, e.Object)
			}
			if o.GetName() == name {
				return e
			}
		case <-t.ctx.Done():
			t.fail("no event of %s came", name)
		}
	}
}

func spec(o *unstructured.Unstructured) string {
	rest := o.DeepCopy().Object
	delete(rest, "metadata")
	delete(rest, "status")
	text, _ := json.Marshal(rest)
	return string(text)
}

// everyVerb: create (dry first), get, list, watch, the four patches, update, status apart, delete, deletecollection.
func (t *trial) everyVerb(sample *unstructured.Unstructured) {
	resource, gvr, below := t.resourceOf(sample)
	var api dynamic.ResourceInterface = t.dynamic.Resource(gvr)
	if resource.Namespaced {
		api = t.dynamic.Resource(gvr).Namespace(t.ns)
		sample.SetNamespace(t.ns)
	}
	name := sample.GetName()
	if name == "" {
		name = "sample-" + t.ns
		sample.SetName(name)
	}
	for _, about := range []string{"involvedObject", "regarding"} { // an Event is in the namespace of what it is about
		if m, ok := sample.Object[about].(map[string]interface{}); ok {
			m["namespace"] = t.ns
		}
	}
	label := map[string]string{"sample": t.ns}
	sample.SetLabels(label)
	selector := metav1.ListOptions{LabelSelector: "sample=" + t.ns}
	verbs := map[string]bool{}
	for _, v := range resource.Verbs {
		verbs[v] = true
	}

	_, err := api.Create(t.ctx, sample, metav1.CreateOptions{DryRun: []string{"All"}})
	t.must(err)
	_, err = api.Get(t.ctx, name, metav1.GetOptions{})
	t.refused("a dry run leaves nothing", "NotFound", err)
	list, err := api.List(t.ctx, selector)
	t.must(err)
	t.equal("objects before", len(list.Items), 0)
	from := selector
	from.ResourceVersion = list.GetResourceVersion()
	w, err := api.Watch(t.ctx, from)
	t.must(err)
	defer w.Stop()

	o, err := api.Create(t.ctx, sample, metav1.CreateOptions{FieldManager: "creator"})
	t.must(err)
	t.equal("first event", t.next(w, name).Type, watch.Added)
	if o.GetUID() == "" || o.GetResourceVersion() == "" || o.GetCreationTimestamp().Time.IsZero() || len(o.GetManagedFields()) != 1 {
		t.fail("metadata is not complete: %v", o.Object["metadata"])
	}
	_, err = api.Create(t.ctx, sample, metav1.CreateOptions{})
	t.refused("a second of the name", "AlreadyExists", err)
	list, err = api.List(t.ctx, selector)
	t.must(err)
	t.equal("objects", len(list.Items), 1)
	t.equal("kind of the list", list.GetKind(), resource.Kind+"List")

	patches := []struct {
		kind types.PatchType
		body string
	}{
		{types.MergePatchType, `{"metadata":{"annotations":{"merge":"1"}}}`},
		{types.StrategicMergePatchType, `{"metadata":{"annotations":{"strategic":"1"}}}`},
		{types.JSONPatchType, `[{"op":"add","path":"/metadata/annotations/json","value":"1"}]`},
		{types.ApplyPatchType, fmt.Sprintf(`{"apiVersion":%q,"kind":%q,"metadata":{"name":%q,"annotations":{"apply":"1"}}}`,
			sample.GetAPIVersion(), sample.GetKind(), name)},
	}
	for _, p := range patches {
		o, err = api.Patch(t.ctx, name, p.kind, []byte(p.body), metav1.PatchOptions{FieldManager: "patcher"})
		if err != nil {
			t.fail("%s: %v", p.kind, err)
		}
	}
	t.equal("annotations", fmt.Sprint(o.GetAnnotations()["merge"], o.GetAnnotations()["strategic"], o.GetAnnotations()["json"],
		o.GetAnnotations()["apply"]), "1111")
	stale := o.DeepCopy()
	stale.SetResourceVersion("1")
	_, err = api.Update(t.ctx, stale, metav1.UpdateOptions{})
	t.refused("an update from before", "Conflict", err)
	// Controllers may write in between; that is what retrying is for.
	t.eventually("an update is taken", func() (bool, error) {
		if o, err = api.Get(t.ctx, name, metav1.GetOptions{}); err != nil {
			return false, err
		}
		before := spec(o)
		o.SetAnnotations(map[string]string{"update": "1"})
		changed, err := api.Update(t.ctx, o, metav1.UpdateOptions{})
		if outcome(err) == "Conflict" {
			return false, nil
		}
		if err == nil && spec(changed) != before {
			return false, fmt.Errorf("an update of metadata changed %s into %s", before, spec(changed))
		}
		return true, err
	})
	for {
		e := t.next(w, name)
		t.equal("event", e.Type, watch.Modified)
		if e.Object.(*unstructured.Unstructured).GetAnnotations()["update"] == "1" {
			break
		}
	}
	if below["status"] {
		got, err := api.Get(t.ctx, name, metav1.GetOptions{}, "status")
		t.must(err)
		t.equal("kind of the status", got.GetKind(), resource.Kind)
		o, err = api.Patch(t.ctx, name, types.MergePatchType, []byte(`{"metadata":{"annotations":{"status":"1"}}}`), metav1.PatchOptions{}, "status")
		t.must(err)
		if spec(o) != spec(got) {
			t.fail("a patch of the status changed %s into %s", spec(got), spec(o))
		}
	}
	if !verbs["deletecollection"] {
		t.must(api.Delete(t.ctx, name, metav1.DeleteOptions{}))
	} else {
		t.must(api.DeleteCollection(t.ctx, metav1.DeleteOptions{GracePeriodSeconds: new(int64)}, selector))
	}
	t.eventually("it is gone", func() (bool, error) {
		_, err := api.Get(t.ctx, name, metav1.GetOptions{})
		return outcome(err) == "NotFound", nil
	})
	for {
		e := t.next(w, name)
		if e.Type == watch.Deleted {
			break
		}
		t.equal("event", e.Type, watch.Modified)
	}
	t.refused("a second deletion", "NotFound", api.Delete(t.ctx, name, metav1.DeleteOptions{}))
}
