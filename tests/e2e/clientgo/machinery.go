// SPDX-License-Identifier: GPL-2.0-or-later

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sort"
	"strings"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
)

func init() {
	behaviours = append(behaviours,
		behaviour{"discovery: every group's preferred version is one it has", preferredVersions},
		behaviour{"discovery: aggregated by its Accept header, and the same as the other", aggregated},
		behaviour{"field validation: unknown and duplicate fields by each of its modes", fieldValidation},
		behaviour{"garbage collection: in the background", collectInBackground},
		behaviour{"garbage collection: orphans stay", collectOrphans},
		behaviour{"garbage collection: the owner waits in the foreground", collectInForeground},
		behaviour{"garbage collection: a second owner keeps", collectSecondOwner},
		behaviour{"garbage collection: a circle of owners goes", collectCircle},
		behaviour{"namespaces: finalizer, status, patch and update", namespaceLife},
		behaviour{"namespaces: pods go before what they use, all goes", namespaceContent},
		behaviour{"quota: status and life of what it counts", quotaLife},
		behaviour{"quota: scopes", quotaScopes},
		behaviour{"lists: chunks show one moment", chunks},
		behaviour{"tables: refused for what has none", noTable},
		behaviour{"watch: from a version, restarted, and by a selector", watchOrder},
		behaviour{"watch: concurrent ones see the same order", concurrentWatches},
	)
}

// get is a plain request as curl makes it.
func (t *trial) get(path, accept string, body io.Reader) (*http.Response, []byte) {
	transport, err := rest.TransportFor(t.config)
	t.must(err)
	method := "GET"
	if body != nil {
		method = "POST"
	}
	r, err := http.NewRequestWithContext(t.ctx, method, t.config.Host+path, body)
	t.must(err)
	r.Header.Set("Accept", accept)
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	answer, err := (&http.Client{Transport: transport}).Do(r)
	t.must(err)
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	t.must(err)
	return answer, text
}

func preferredVersions(t *trial) {
	groups, err := t.typed.Discovery().ServerGroups()
	t.must(err)
	for _, g := range groups.Groups {
		if g.Name == "" {
			continue
		}
		var alone metav1.APIGroup
		_, text := t.get("/apis/"+g.Name, "application/json", nil)
		t.must(json.Unmarshal(text, &alone))
		t.equal(g.Name, alone.PreferredVersion.GroupVersion, g.PreferredVersion.GroupVersion)
		found := false
		for _, v := range alone.Versions {
			found = found || v == alone.PreferredVersion
			list, err := t.typed.Discovery().ServerResourcesForGroupVersion(v.GroupVersion)
			t.must(err)
			t.equal("group and version", list.GroupVersion, v.GroupVersion)
		}
		t.equal(g.Name+" has its preferred version", found, true)
	}
}

func aggregated(t *trial) {
	names := map[string]bool{}
	for _, path := range []string{"/api", "/apis"} {
		for accept, kind := range map[string]string{
			"application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList":                             "APIGroupDiscoveryList",
			"application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json":            "APIGroupDiscoveryList",
			"application/json;g=apidiscovery.k8s.io;v=v99;as=APIGroupDiscoveryList,application/json":           "API",
			"application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json;q=0.9": "API",
			"application/json": "API",
		} {
			answer, text := t.get(path, accept, nil)
			var head struct {
				Kind  string
				Items []struct {
					Metadata metav1.ObjectMeta
					Versions []struct {
						Version   string
						Resources []struct{ Resource string }
					}
				}
			}
			t.must(json.Unmarshal(text, &head))
			if answer.StatusCode != 200 || !strings.HasPrefix(head.Kind, kind) {
				t.fail("%s %s: %d %s", path, accept, answer.StatusCode, head.Kind)
			}
			typeOf := answer.Header.Get("Content-Type")
			t.equal("content type of "+accept, strings.Contains(typeOf, "as=APIGroupDiscoveryList"), kind == "APIGroupDiscoveryList")
			for _, g := range head.Items {
				for _, v := range g.Versions {
					for _, r := range v.Resources {
						names[strings.TrimPrefix(g.Metadata.Name+"/"+v.Version, "/")+" "+r.Resource] = true
					}
				}
			}
		}
	}
	_, lists, err := t.typed.Discovery().ServerGroupsAndResources()
	t.must(err)
	for _, list := range lists {
		for _, r := range list.APIResources {
			if !strings.Contains(r.Name, "/") && !names[list.GroupVersion+" "+r.Name] {
				t.fail("%s %s is not in the aggregated one", list.GroupVersion, r.Name)
			}
		}
	}
}

func fieldValidation(t *trial) {
	body := func(name string) string {
		return `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"` + name + `","unknownMeta":"x"},"spec":{"unknown":1,"replicas":0,"replicas":0,` +
			`"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i","surprise":true}]}}}}`
	}
	path := "/apis/apps/v1/namespaces/" + t.ns + "/deployments?fieldValidation="
	answer, text := t.get(path+"Strict", "application/json", strings.NewReader(body("strict")))
	t.equal("strict", answer.StatusCode, 400)
	for _, want := range []string{"strict decoding error", `unknown field \"spec.unknown\"`, `duplicate field \"spec.replicas\"`,
		`unknown field \"spec.template.spec.containers[0].surprise\"`, `unknown field \"metadata.unknownMeta\"`} {
		if !strings.Contains(string(text), want) {
			t.fail("strict: %s is not in %s", want, text)
		}
	}
	answer, _ = t.get(path+"Warn", "application/json", strings.NewReader(body("warn")))
	t.equal("warn", answer.StatusCode, 201)
	t.equal("warnings", len(answer.Header.Values("Warning")), 4)
	answer, _ = t.get(path+"Ignore", "application/json", strings.NewReader(body("ignore")))
	t.equal("ignore", fmt.Sprint(answer.StatusCode, len(answer.Header.Values("Warning"))), "201 0")
	answer, _ = t.get(path+"Maybe", "application/json", strings.NewReader(body("maybe")))
	t.equal("another", answer.StatusCode, 422)
}

func podTemplate(labels map[string]string) v1.PodTemplateSpec {
	return v1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: v1.PodSpec{
		TerminationGracePeriodSeconds: new(int64), Containers: []v1.Container{{Name: "c", Image: "keelson.local/pause:1"}}}}
}

func (t *trial) deploy(name string, replicas int32) {
	labels := map[string]string{"app": name}
	_, err := t.typed.AppsV1().Deployments(t.ns).Create(t.ctx, &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: appsv1.DeploymentSpec{
		Replicas: &replicas, Selector: &metav1.LabelSelector{MatchLabels: labels}, Template: podTemplate(labels)}}, metav1.CreateOptions{})
	t.must(err)
}

func (t *trial) replicaSets() int {
	list, err := t.typed.AppsV1().ReplicaSets(t.ns).List(t.ctx, metav1.ListOptions{})
	t.must(err)
	return len(list.Items)
}

func (t *trial) controller(name string, replicas int32) {
	labels := map[string]string{"rc": name}
	template := podTemplate(labels)
	_, err := t.typed.CoreV1().ReplicationControllers(t.ns).Create(t.ctx, &v1.ReplicationController{ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: v1.ReplicationControllerSpec{Replicas: &replicas, Selector: labels, Template: &template}}, metav1.CreateOptions{})
	t.must(err)
	t.eventually("its pods are there", func() (bool, error) { return t.pods("rc="+name) == int(replicas), nil })
}

func (t *trial) pods(selector string) int {
	list, err := t.typed.CoreV1().Pods(t.ns).List(t.ctx, metav1.ListOptions{LabelSelector: selector})
	t.must(err)
	return len(list.Items)
}

func policy(p metav1.DeletionPropagation) metav1.DeleteOptions {
	return metav1.DeleteOptions{PropagationPolicy: &p}
}

func collectInBackground(t *trial) {
	t.deploy("gone", 1)
	t.controller("gone", 2)
	t.eventually("a ReplicaSet", func() (bool, error) { return t.replicaSets() == 1, nil })
	t.must(t.typed.AppsV1().Deployments(t.ns).Delete(t.ctx, "gone", policy(metav1.DeletePropagationBackground)))
	t.must(t.typed.CoreV1().ReplicationControllers(t.ns).Delete(t.ctx, "gone", policy(metav1.DeletePropagationBackground)))
	t.eventually("all went", func() (bool, error) { return t.replicaSets() == 0 && t.pods("") == 0, nil })
}

func collectOrphans(t *trial) {
	t.deploy("left", 0)
	t.controller("left", 2)
	t.eventually("a ReplicaSet", func() (bool, error) { return t.replicaSets() == 1, nil })
	t.must(t.typed.AppsV1().Deployments(t.ns).Delete(t.ctx, "left", policy(metav1.DeletePropagationOrphan)))
	t.must(t.typed.CoreV1().ReplicationControllers(t.ns).Delete(t.ctx, "left", policy(metav1.DeletePropagationOrphan)))
	t.eventually("the owners went", func() (bool, error) {
		_, err := t.typed.AppsV1().Deployments(t.ns).Get(t.ctx, "left", metav1.GetOptions{})
		_, other := t.typed.CoreV1().ReplicationControllers(t.ns).Get(t.ctx, "left", metav1.GetOptions{})
		return apierrors.IsNotFound(err) && apierrors.IsNotFound(other), nil
	})
	t.still("orphans stay", func() bool { return t.replicaSets() == 1 && t.pods("") == 2 })
	list, err := t.typed.CoreV1().Pods(t.ns).List(t.ctx, metav1.ListOptions{})
	t.must(err)
	t.equal("owners of an orphan", len(list.Items[0].OwnerReferences), 0)
}

func collectInForeground(t *trial) {
	t.controller("waits", 2)
	api := t.typed.CoreV1().ReplicationControllers(t.ns)
	pods, err := t.typed.CoreV1().Pods(t.ns).List(t.ctx, metav1.ListOptions{})
	t.must(err)
	// A finalizer keeps one pod: so the owner must stay.
	hold := []byte(`{"metadata":{"finalizers":["example.com/hold"]}}`)
	_, err = t.typed.CoreV1().Pods(t.ns).Patch(t.ctx, pods.Items[0].Name, types.MergePatchType, hold, metav1.PatchOptions{})
	t.must(err)
	t.must(api.Delete(t.ctx, "waits", policy(metav1.DeletePropagationForeground)))
	t.eventually("the other pod went", func() (bool, error) { return t.pods("") == 1, nil })
	t.still("the owner waits", func() bool {
		rc, err := api.Get(t.ctx, "waits", metav1.GetOptions{})
		return err == nil && rc.DeletionTimestamp != nil && strings.Contains(strings.Join(rc.Finalizers, " "), "foregroundDeletion")
	})
	_, err = t.typed.CoreV1().Pods(t.ns).Patch(t.ctx, pods.Items[0].Name, types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{})
	t.must(err)
	t.eventually("the owner went", func() (bool, error) {
		_, err := api.Get(t.ctx, "waits", metav1.GetOptions{})
		return apierrors.IsNotFound(err), nil
	})
}

func collectSecondOwner(t *trial) {
	t.controller("first", 2)
	t.controller("second", 0)
	second, err := t.typed.CoreV1().ReplicationControllers(t.ns).Get(t.ctx, "second", metav1.GetOptions{})
	t.must(err)
	pods, err := t.typed.CoreV1().Pods(t.ns).List(t.ctx, metav1.ListOptions{LabelSelector: "rc=first"})
	t.must(err)
	keep := pods.Items[0].Name
	_, err = t.typed.CoreV1().Pods(t.ns).Patch(t.ctx, keep, types.StrategicMergePatchType, []byte(fmt.Sprintf(
		`{"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"ReplicationController","name":"second","uid":%q}]}}`, second.UID)), metav1.PatchOptions{})
	t.must(err)
	t.must(t.typed.CoreV1().ReplicationControllers(t.ns).Delete(t.ctx, "first", policy(metav1.DeletePropagationForeground)))
	t.eventually("the first owner went", func() (bool, error) {
		_, err := t.typed.CoreV1().ReplicationControllers(t.ns).Get(t.ctx, "first", metav1.GetOptions{})
		return apierrors.IsNotFound(err), nil
	})
	t.eventually("what had one owner went", func() (bool, error) { return t.pods("") == 1, nil })
	pod, err := t.typed.CoreV1().Pods(t.ns).Get(t.ctx, keep, metav1.GetOptions{})
	t.must(err)
	t.equal("owners", fmt.Sprintf("%d %s %v", len(pod.OwnerReferences), pod.OwnerReferences[0].Name, pod.DeletionTimestamp), "1 second <nil>")
}

func collectCircle(t *trial) {
	api := t.typed.CoreV1().ConfigMaps(t.ns)
	var made []*v1.ConfigMap
	for i := 0; i < 3; i++ {
		o, err := api.Create(t.ctx, configMap(fmt.Sprint("circle", i), i), metav1.CreateOptions{})
		t.must(err)
		made = append(made, o)
	}
	for i, o := range made {
		owner := made[(i+1)%3]
		o.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "ConfigMap", Name: owner.Name, UID: owner.UID}}
		_, err := api.Update(t.ctx, o, metav1.UpdateOptions{})
		t.must(err)
	}
	t.must(api.Delete(t.ctx, "circle0", policy(metav1.DeletePropagationForeground)))
	t.eventually("the circle went", func() (bool, error) {
		list, err := api.List(t.ctx, metav1.ListOptions{LabelSelector: "test=clientgo"})
		return err == nil && len(list.Items) == 0, err
	})
}

func namespaceLife(t *trial) {
	api := t.typed.CoreV1().Namespaces()
	name := t.ns + "-life"
	ns, err := api.Create(t.ctx, &v1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	t.must(err)
	t.equal("label of its name", ns.Labels["kubernetes.io/metadata.name"], name)
	ns, err = api.Patch(t.ctx, name, types.StrategicMergePatchType, []byte(`{"metadata":{"labels":{"patched":"yes"}}}`), metav1.PatchOptions{})
	t.must(err)
	t.equal("patched", ns.Labels["patched"], "yes")
	ns.Labels["updated"] = "yes"
	ns, err = api.Update(t.ctx, ns, metav1.UpdateOptions{})
	t.must(err)
	ns.Status.Conditions = append(ns.Status.Conditions, v1.NamespaceCondition{Type: "StatusUpdate", Status: v1.ConditionTrue, Reason: "Test", Message: "told"})
	ns, err = api.UpdateStatus(t.ctx, ns, metav1.UpdateOptions{})
	t.must(err)
	t.equal("conditions", len(ns.Status.Conditions), 1)
	ns.Spec.Finalizers = append(ns.Spec.Finalizers, "example.com/hold")
	ns, err = api.Finalize(t.ctx, ns, metav1.UpdateOptions{})
	t.must(err)
	t.must(api.Delete(t.ctx, name, metav1.DeleteOptions{}))
	t.still("it waits for its finalizer", func() bool {
		ns, err = api.Get(t.ctx, name, metav1.GetOptions{})
		return err == nil && ns.Status.Phase == v1.NamespaceTerminating
	})
	_, err = t.typed.CoreV1().ConfigMaps(name).Create(t.ctx, configMap("late", 0), metav1.CreateOptions{})
	t.refused("nothing new comes into it", "Forbidden", err)
	t.equal("its cause", apierrors.HasStatusCause(err, v1.NamespaceTerminatingCause), true)
	t.eventually("it is let go", func() (bool, error) {
		ns, err = api.Get(t.ctx, name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return true, nil
		}
		if err == nil {
			ns.Spec.Finalizers = nil
			_, err = api.Finalize(t.ctx, ns, metav1.UpdateOptions{})
		}
		return false, nil
	})
}

func namespaceContent(t *trial) {
	name := t.ns + "-content"
	_, err := t.typed.CoreV1().Namespaces().Create(t.ctx, &v1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	t.must(err)
	inside := &trial{client: t.client, ns: name}
	t.eventually("its ServiceAccount is there", func() (bool, error) {
		_, err := t.typed.CoreV1().ServiceAccounts(name).Get(t.ctx, "default", metav1.GetOptions{})
		return err == nil, nil
	})
	template := podTemplate(nil)
	pod := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "held", Finalizers: []string{"example.com/hold"}}, Spec: template.Spec}
	_, err = t.typed.CoreV1().Pods(name).Create(t.ctx, pod, metav1.CreateOptions{})
	t.must(err)
	_, err = t.typed.CoreV1().ConfigMaps(name).Create(t.ctx, configMap("used", 0), metav1.CreateOptions{})
	t.must(err)
	_, err = t.typed.CoreV1().Services(name).Create(t.ctx, &v1.Service{ObjectMeta: metav1.ObjectMeta{Name: "svc"},
		Spec: v1.ServiceSpec{Ports: []v1.ServicePort{{Port: 80}}}}, metav1.CreateOptions{})
	t.must(err)
	t.must(t.typed.CoreV1().Namespaces().Delete(t.ctx, name, metav1.DeleteOptions{}))
	t.eventually("the pod is being deleted", func() (bool, error) {
		p, err := t.typed.CoreV1().Pods(name).Get(t.ctx, "held", metav1.GetOptions{})
		return err == nil && p.DeletionTimestamp != nil, err
	})
	t.still("what the pod may use stays while it is there", func() bool {
		_, err := t.typed.CoreV1().ConfigMaps(name).Get(t.ctx, "used", metav1.GetOptions{})
		return err == nil
	})
	ns, err := t.typed.CoreV1().Namespaces().Get(t.ctx, name, metav1.GetOptions{})
	t.must(err)
	said := ""
	for _, c := range ns.Status.Conditions {
		if c.Status == v1.ConditionTrue {
			said += string(c.Type) + " "
		}
	}
	if !strings.Contains(said, "NamespaceContentRemaining") || !strings.Contains(said, "NamespaceFinalizersRemaining") {
		t.fail("its conditions do not tell what it waits for: %v", ns.Status.Conditions)
	}
	_, err = t.typed.CoreV1().Pods(name).Patch(t.ctx, "held", types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{})
	t.must(err)
	t.eventually("all of it went", func() (bool, error) {
		_, err := t.typed.CoreV1().Namespaces().Get(t.ctx, name, metav1.GetOptions{})
		return apierrors.IsNotFound(err), nil
	})
	t.equal("pods", inside.pods(""), 0)
}

func (t *trial) quota(name string, hard v1.ResourceList, scopes ...v1.ResourceQuotaScope) {
	_, err := t.typed.CoreV1().ResourceQuotas(t.ns).Create(t.ctx, &v1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: v1.ResourceQuotaSpec{Hard: hard, Scopes: scopes}}, metav1.CreateOptions{})
	t.must(err)
	t.eventually("the quota's status is there", func() (bool, error) {
		q, err := t.typed.CoreV1().ResourceQuotas(t.ns).Get(t.ctx, name, metav1.GetOptions{})
		return err == nil && len(q.Status.Hard) == len(hard) && len(q.Status.Used) == len(hard), err
	})
}

func (t *trial) used(quota string, what v1.ResourceName, want string) {
	t.eventually(fmt.Sprintf("%s of %s is %s", what, quota, want), func() (bool, error) {
		q, err := t.typed.CoreV1().ResourceQuotas(t.ns).Get(t.ctx, quota, metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		got := q.Status.Used[what]
		return got.Cmp(resource.MustParse(want)) == 0, nil
	})
}

func list(pairs ...string) v1.ResourceList {
	l := v1.ResourceList{}
	for i := 0; i < len(pairs); i += 2 {
		l[v1.ResourceName(pairs[i])] = resource.MustParse(pairs[i+1])
	}
	return l
}

func quotaLife(t *trial) {
	t.quota("all", list("pods", "1", "configmaps", "3", "secrets", "1", "services", "1", "services.nodeports", "0", "replicationcontrollers", "1",
		"count/replicasets.apps", "1", "requests.cpu", "1", "limits.memory", "1Gi"))
	t.used("all", "configmaps", "1") // kube-root-ca.crt
	_, err := t.typed.CoreV1().ConfigMaps(t.ns).Create(t.ctx, configMap("counted", 0), metav1.CreateOptions{})
	t.must(err)
	t.used("all", "configmaps", "2")
	t.must(t.typed.CoreV1().ConfigMaps(t.ns).Delete(t.ctx, "counted", metav1.DeleteOptions{}))
	t.used("all", "configmaps", "1")

	service := func(name string, kind v1.ServiceType) error {
		_, err := t.typed.CoreV1().Services(t.ns).Create(t.ctx, &v1.Service{ObjectMeta: metav1.ObjectMeta{Name: name},
			Spec: v1.ServiceSpec{Type: kind, Ports: []v1.ServicePort{{Port: 80}}}}, metav1.CreateOptions{})
		return err
	}
	t.refused("a NodePort", "Forbidden", service("node", v1.ServiceTypeNodePort))
	t.must(service("one", v1.ServiceTypeClusterIP))
	t.refused("a second Service", "Forbidden", service("two", v1.ServiceTypeClusterIP))
	t.used("all", "services", "1")

	pod := func(name, cpu, memory string) error {
		template := podTemplate(nil)
		template.Spec.SchedulerName = "nobody"
		template.Spec.Containers[0].Resources = v1.ResourceRequirements{Requests: list("cpu", cpu), Limits: list("memory", memory)}
		_, err := t.typed.CoreV1().Pods(t.ns).Create(t.ctx, &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: template.Spec}, metav1.CreateOptions{})
		return err
	}
	t.refused("a pod too large", "Forbidden", pod("large", "2", "1Gi"))
	t.must(pod("fits", "500m", "252Mi"))
	t.used("all", "pods", "1")
	t.used("all", "requests.cpu", "500m")
	t.used("all", "limits.memory", "252Mi")
	t.refused("a second pod", "Forbidden", pod("second", "100m", "1Mi"))
	t.must(t.typed.CoreV1().Pods(t.ns).Delete(t.ctx, "fits", metav1.DeleteOptions{}))
	t.used("all", "requests.cpu", "0")

	t.controller("counted", 0)
	t.used("all", "replicationcontrollers", "1")
	t.must(t.typed.CoreV1().ReplicationControllers(t.ns).Delete(t.ctx, "counted", metav1.DeleteOptions{}))
	t.used("all", "replicationcontrollers", "0")
	t.deploy("counted", 0)
	t.used("all", "count/replicasets.apps", "1")

	q, err := t.typed.CoreV1().ResourceQuotas(t.ns).Get(t.ctx, "all", metav1.GetOptions{})
	t.must(err)
	q.Spec.Hard["configmaps"] = resource.MustParse("10")
	_, err = t.typed.CoreV1().ResourceQuotas(t.ns).Update(t.ctx, q, metav1.UpdateOptions{})
	t.must(err)
	t.eventually("the status follows the spec", func() (bool, error) {
		q, err = t.typed.CoreV1().ResourceQuotas(t.ns).Get(t.ctx, "all", metav1.GetOptions{})
		hard := q.Status.Hard["configmaps"]
		return err == nil && hard.Value() == 10, err
	})
	// A status that somebody else writes is put right.
	q.Status.Hard = list("configmaps", "99")
	_, err = t.typed.CoreV1().ResourceQuotas(t.ns).UpdateStatus(t.ctx, q, metav1.UpdateOptions{})
	if !apierrors.IsConflict(err) {
		t.must(err)
	}
	t.eventually("a wrong status is mended", func() (bool, error) {
		q, err = t.typed.CoreV1().ResourceQuotas(t.ns).Get(t.ctx, "all", metav1.GetOptions{})
		return err == nil && len(q.Status.Hard) == len(q.Spec.Hard), err
	})
}

func quotaScopes(t *trial) {
	t.quota("besteffort", list("pods", "5"), v1.ResourceQuotaScopeBestEffort)
	t.quota("notbesteffort", list("pods", "5"), v1.ResourceQuotaScopeNotBestEffort)
	t.quota("terminating", list("pods", "5"), v1.ResourceQuotaScopeTerminating)
	t.quota("notterminating", list("pods", "5"), v1.ResourceQuotaScopeNotTerminating)
	template := podTemplate(nil)
	template.Spec.SchedulerName = "nobody"
	_, err := t.typed.CoreV1().Pods(t.ns).Create(t.ctx, &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "best"}, Spec: template.Spec}, metav1.CreateOptions{})
	t.must(err)
	deadline := int64(3600)
	template.Spec.ActiveDeadlineSeconds = &deadline
	template.Spec.Containers[0].Resources.Requests = list("cpu", "1m")
	_, err = t.typed.CoreV1().Pods(t.ns).Create(t.ctx, &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "ends"}, Spec: template.Spec}, metav1.CreateOptions{})
	t.must(err)
	for _, name := range []string{"besteffort", "notbesteffort", "terminating", "notterminating"} {
		t.used(name, "pods", "1")
	}
	t.must(t.typed.CoreV1().Pods(t.ns).Delete(t.ctx, "best", metav1.DeleteOptions{}))
	t.used("besteffort", "pods", "0")
	t.used("notterminating", "pods", "0")
	t.used("terminating", "pods", "1")
}

func chunks(t *trial) {
	api := t.typed.CoreV1().PodTemplates(t.ns)
	const count = 40
	for i := 0; i < count; i++ {
		_, err := api.Create(t.ctx, &v1.PodTemplate{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("template-%04d", i)},
			Template: podTemplate(map[string]string{"a": "b"})}, metav1.CreateOptions{})
		t.must(err)
	}
	var seen []string
	version, token := "", ""
	for {
		page, err := api.List(t.ctx, metav1.ListOptions{Limit: 7, Continue: token})
		t.must(err)
		if version == "" {
			version = page.ResourceVersion
			// What comes and goes now is in no page.
			t.must(api.Delete(t.ctx, "template-0039", metav1.DeleteOptions{}))
			_, err = api.Create(t.ctx, &v1.PodTemplate{ObjectMeta: metav1.ObjectMeta{Name: "template-0020a"}, Template: podTemplate(map[string]string{"a": "b"})}, metav1.CreateOptions{})
			t.must(err)
		}
		t.equal("version of the page", page.ResourceVersion, version)
		for _, o := range page.Items {
			seen = append(seen, o.Name)
		}
		if token = page.Continue; token == "" {
			if page.RemainingItemCount != nil {
				t.fail("the last page says that more remains")
			}
			break
		}
		if page.RemainingItemCount == nil || *page.RemainingItemCount != int64(count-len(seen)) {
			t.fail("%v remain after %d of %d", page.RemainingItemCount, len(seen), count)
		}
	}
	t.equal("objects", len(seen), count)
	t.equal("in order", sort.StringsAreSorted(seen), true)
	whole, err := api.List(t.ctx, metav1.ListOptions{ResourceVersion: version, ResourceVersionMatch: metav1.ResourceVersionMatchExact})
	t.must(err)
	t.equal("at that version", len(whole.Items), count)
}

func noTable(t *trial) {
	answer, text := t.get("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", "application/json;as=Table;v=v1;g=meta.k8s.io",
		strings.NewReader(`{"apiVersion":"authorization.k8s.io/v1","kind":"SelfSubjectAccessReview","spec":{"resourceAttributes":{"verb":"get","resource":"pods"}}}`))
	t.equal("answer "+string(text), answer.StatusCode, 406)
}

// nextMap is the next event of a watch of ConfigMaps, as "TYPE n".
func (t *trial) nextMap(w watch.Interface) string {
	select {
	case e, ok := <-w.ResultChan():
		if !ok {
			t.fail("the watch ended")
		}
		o, ok := e.Object.(*v1.ConfigMap)
		if !ok {
			t.fail("%v: %v", e.Type, e.Object)
		}
		return fmt.Sprint(e.Type, " ", o.Data["n"])
	case <-t.ctx.Done():
		t.fail("no event came")
	}
	return ""
}

func watchOrder(t *trial) {
	api := t.typed.CoreV1().ConfigMaps(t.ns)
	options := metav1.ListOptions{LabelSelector: "test=clientgo"}
	w, err := api.Watch(t.ctx, options)
	t.must(err)
	first, err := api.Create(t.ctx, configMap("watched", 0), metav1.CreateOptions{})
	t.must(err)
	for i := 1; i < 3; i++ {
		_, err = api.Update(t.ctx, configMap("watched", i), metav1.UpdateOptions{})
		t.must(err)
	}
	for _, want := range []string{"ADDED 0", "MODIFIED 1", "MODIFIED 2"} {
		t.equal("event", t.nextMap(w), want)
	}
	w.Stop()
	options.ResourceVersion = first.ResourceVersion
	w, err = api.Watch(t.ctx, options)
	t.must(err)
	defer w.Stop()
	t.equal("from a version", t.nextMap(w), "MODIFIED 1")
	t.equal("from a version", t.nextMap(w), "MODIFIED 2")
	other := configMap("watched", 3)
	other.Labels = map[string]string{"test": "other"}
	_, err = api.Update(t.ctx, other, metav1.UpdateOptions{})
	t.must(err)
	t.equal("left the selector", t.nextMap(w), "DELETED 2")
	_, err = api.Update(t.ctx, configMap("watched", 4), metav1.UpdateOptions{})
	t.must(err)
	t.equal("came back", t.nextMap(w), "ADDED 4")
	t.must(api.Delete(t.ctx, "watched", metav1.DeleteOptions{}))
	t.equal("was deleted", t.nextMap(w), "DELETED 4")
}

func concurrentWatches(t *trial) {
	const watches, events = 20, 60
	api := t.typed.CoreV1().ConfigMaps(t.ns)
	var wg sync.WaitGroup
	orders := make([]string, watches)
	at, err := api.List(t.ctx, metav1.ListOptions{})
	t.must(err)
	for i := range orders {
		w, err := api.Watch(t.ctx, metav1.ListOptions{ResourceVersion: at.ResourceVersion, LabelSelector: "test=clientgo"})
		t.must(err)
		wg.Add(1)
		go func() {
			defer wg.Done()
			defer w.Stop()
			end := time.After(patience)
			for n := 0; n < events; n++ {
				select {
				case e := <-w.ResultChan():
					if o, ok := e.Object.(*v1.ConfigMap); ok {
						orders[i] += fmt.Sprint(e.Type, o.Name, o.ResourceVersion, " ")
					}
				case <-end:
					return
				}
			}
		}()
	}
	var writers sync.WaitGroup
	errs := make(chan error, 4)
	for i := 0; i < 4; i++ {
		writers.Add(1)
		go func() {
			defer writers.Done()
			for n := 0; n < events/4/3; n++ {
				name := fmt.Sprintf("ordered-%d-%d", i, n)
				_, err := api.Create(t.ctx, configMap(name, 0), metav1.CreateOptions{})
				if err == nil {
					_, err = api.Update(t.ctx, configMap(name, 1), metav1.UpdateOptions{})
				}
				if err == nil {
					err = api.Delete(t.ctx, name, metav1.DeleteOptions{})
				}
				if err != nil {
					errs <- err
					return
				}
			}
		}()
	}
	writers.Wait()
	select {
	case err := <-errs:
		t.must(err)
	default:
	}
	wg.Wait()
	t.equal("events", strings.Count(orders[0], " "), events)
	for i := range orders {
		t.equal("order", orders[i], orders[0])
	}
}
