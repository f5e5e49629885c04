// SPDX-License-Identifier: GPL-2.0-or-later

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sort"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	v1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	applyapps "k8s.io/client-go/applyconfigurations/apps/v1"
	applycore "k8s.io/client-go/applyconfigurations/core/v1"
	applymeta "k8s.io/client-go/applyconfigurations/meta/v1"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/scale"
	"k8s.io/client-go/util/retry"
)

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}

func outcome(err error) string {
	switch {
	case err == nil:
		return "ok"
	case apierrors.IsNotFound(err):
		return "NotFound"
	case apierrors.IsAlreadyExists(err):
		return "AlreadyExists"
	case apierrors.IsConflict(err):
		return "Conflict"
	case apierrors.IsInvalid(err):
		return "Invalid"
	case apierrors.IsForbidden(err):
		return "Forbidden"
	case apierrors.IsUnauthorized(err):
		return "Unauthorized"
	case apierrors.IsBadRequest(err):
		return "BadRequest"
	case apierrors.IsMethodNotSupported(err):
		return "MethodNotSupported"
	case apierrors.IsUnsupportedMediaType(err):
		return "UnsupportedMediaType"
	case apierrors.IsTooManyRequests(err):
		return "TooManyRequests"
	case apierrors.IsResourceExpired(err):
		return "Expired"
	case apierrors.IsTimeout(err):
		return "Timeout"
	}
	return err.Error()
}

// errorKinds: each refusal is one that the library knows.
func errorKinds(c *client) (string, error) {
	maps := c.typed.CoreV1().ConfigMaps(namespace)
	var got []string
	note := func(err error) { got = append(got, outcome(err)) }

	_, err := maps.Get(c.ctx, "absent", metav1.GetOptions{})
	note(err)
	o, err := maps.Create(c.ctx, configMap("errors", 0), metav1.CreateOptions{})
	note(err)
	_, err = maps.Create(c.ctx, configMap("errors", 0), metav1.CreateOptions{})
	note(err)
	stale := o.DeepCopy()
	stale.ResourceVersion = "1"
	_, err = maps.Update(c.ctx, stale, metav1.UpdateOptions{})
	note(err)
	_, err = maps.Create(c.ctx, configMap("Not A Name", 0), metav1.CreateOptions{})
	note(err)
	var status apierrors.APIStatus
	if !errors.As(err, &status) || len(status.Status().Details.Causes) != 1 || status.Status().Details.Causes[0].Field != "metadata.name" {
		return "", fmt.Errorf("the cause is not named: %v", err)
	}
	wrong := types.UID("00000000-0000-0000-0000-000000000000")
	note(maps.Delete(c.ctx, "errors", metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &wrong}}))
	_, err = maps.Patch(c.ctx, "errors", types.JSONPatchType, []byte(`{"not":"a list"}`), metav1.PatchOptions{})
	note(err)
	_, err = maps.List(c.ctx, metav1.ListOptions{FieldSelector: "data.n=1"})
	note(err)
	_, err = maps.List(c.ctx, metav1.ListOptions{ResourceVersion: "99999999999"})
	note(err)
	_, err = c.typed.CoreV1().Namespaces().Create(c.ctx, &v1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "default"}}, metav1.CreateOptions{})
	note(err)
	note(c.typed.CoreV1().Namespaces().Delete(c.ctx, "kube-system", metav1.DeleteOptions{}))
	return strings.Join(got, " "), nil
}

// dynamicObjects: objects without types, each kind of patch, and two appliers who disagree.
func dynamicObjects(c *client) (string, error) {
	maps := c.dynamic.Resource(schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}).Namespace(namespace)
	object := func(value string) *unstructured.Unstructured {
		return &unstructured.Unstructured{Object: map[string]interface{}{"apiVersion": "v1", "kind": "ConfigMap",
			"metadata": map[string]interface{}{"name": "untyped"}, "data": map[string]interface{}{"k": value}}}
	}
	var got []string
	_, err := maps.Apply(c.ctx, "untyped", object("a"), metav1.ApplyOptions{FieldManager: "one"})
	got = append(got, outcome(err))
	_, err = maps.Apply(c.ctx, "untyped", object("b"), metav1.ApplyOptions{FieldManager: "two"})
	got = append(got, outcome(err))
	_, err = maps.Apply(c.ctx, "untyped", object("b"), metav1.ApplyOptions{FieldManager: "two", Force: true})
	got = append(got, outcome(err))
	for _, p := range []struct {
		kind types.PatchType
		body string
	}{
		{types.JSONPatchType, `[{"op":"test","path":"/data/k","value":"b"},{"op":"add","path":"/data/j","value":"1"}]`},
		{types.MergePatchType, `{"data":{"m":"2","j":null}}`},
		{types.StrategicMergePatchType, `{"metadata":{"labels":{"s":"3"}}}`},
	} {
		_, err = maps.Patch(c.ctx, "untyped", p.kind, []byte(p.body), metav1.PatchOptions{FieldManager: "patcher"})
		got = append(got, outcome(err))
	}
	o, err := maps.Get(c.ctx, "untyped", metav1.GetOptions{})
	if err != nil {
		return "", err
	}
	data, _, _ := unstructured.NestedStringMap(o.Object, "data")
	text, _ := json.Marshal(data)
	var managers []string
	for _, m := range o.GetManagedFields() {
		managers = append(managers, m.Manager)
	}
	sort.Strings(managers)
	return fmt.Sprintf("%s %s %s %s", strings.Join(got, " "), text, o.GetLabels()["s"], strings.Join(managers, ",")), nil
}

func deployment(name string, replicas int32) *applyapps.DeploymentApplyConfiguration {
	labels := map[string]string{"app": name}
	return applyapps.Deployment(name, namespace).WithSpec(applyapps.DeploymentSpec().WithReplicas(replicas).
		WithSelector(applymeta.LabelSelector().WithMatchLabels(labels)).
		WithTemplate(applycore.PodTemplateSpec().WithLabels(labels).WithSpec(applycore.PodSpec().WithTerminationGracePeriodSeconds(1).
			WithContainers(applycore.Container().WithName("c").WithImage("keelson.local/busybox:1").WithCommand("sleep", "1000")))))
}

// applyConfigurations: what an applier extracts is what it applied, and what it leaves out goes.
func applyConfigurations(c *client) (string, error) {
	api := c.typed.AppsV1().Deployments(namespace)
	options := metav1.ApplyOptions{FieldManager: "operator", Force: true}
	_, err := api.Apply(c.ctx, deployment("applied", 1).WithAnnotations(map[string]string{"a": "1"}), options)
	if err != nil {
		return "", err
	}
	var live *appsv1.Deployment
	err = c.until("it is available", func() (bool, error) {
		live, err = api.Get(c.ctx, "applied", metav1.GetOptions{})
		return err == nil && live.Status.AvailableReplicas == 1, err
	})
	if err != nil {
		return "", err
	}
	mine, err := applyapps.ExtractDeployment(live, "operator")
	if err != nil {
		return "", err
	}
	before := fmt.Sprint(*mine.Spec.Replicas, mine.Annotations, len(mine.Spec.Template.Spec.Containers))
	live, err = api.Apply(c.ctx, deployment("applied", 0), options)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s -> %d %s", before, *live.Spec.Replicas, live.Annotations["a"]), nil
}

// discover: what RESTMapper and shortcut expansion need, from aggregated discovery, and schemas of both ages.
func discover(c *client) (string, error) {
	d := discovery.NewDiscoveryClientForConfigOrDie(c.config)
	groups, resources, err := d.ServerGroupsAndResources()
	if err != nil {
		return "", err
	}
	mapper := restmapper.NewShortcutExpander(restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(d)),
		memory.NewMemCacheClient(d), nil)
	var found []string
	for _, name := range []string{"po", "deploy", "pdb", "hpa"} {
		gvk, err := mapper.KindFor(schema.GroupVersionResource{Resource: name})
		if err != nil {
			return "", err
		}
		found = append(found, gvk.GroupKind().String())
	}
	v3, err := d.OpenAPIV3().Paths()
	if err != nil {
		return "", err
	}
	if _, err = v3["apis/apps/v1"].Schema("application/json"); err != nil {
		return "", err
	}
	v2, err := d.OpenAPISchema()
	if err != nil {
		return "", err
	}
	version, err := d.ServerVersion()
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%v %v %s %v %s.%s", len(groups) > 15, len(resources) > 15, strings.Join(found, " "),
		len(v2.GetDefinitions().GetAdditionalProperties()) > 300, version.Major, version.Minor), nil
}

// scales: one client for whatever can be scaled.
func scales(c *client) (string, error) {
	d := discovery.NewDiscoveryClientForConfigOrDie(c.config)
	mapper := restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(d))
	scaler, err := scale.NewForConfig(c.config, mapper, dynamic.LegacyAPIPathResolverFunc, scale.NewDiscoveryScaleKindResolver(d))
	if err != nil {
		return "", err
	}
	if _, err = c.typed.AppsV1().Deployments(namespace).Apply(c.ctx, deployment("scaled", 0), metav1.ApplyOptions{FieldManager: "t"}); err != nil {
		return "", err
	}
	resource := schema.GroupResource{Group: "apps", Resource: "deployments"}
	var s *autoscalingv1.Scale
	if err = retry.RetryOnConflict(retry.DefaultRetry, func() error { // with the Deployment's own controller
		if s, err = scaler.Scales(namespace).Get(c.ctx, resource, "scaled", metav1.GetOptions{}); err != nil {
			return err
		}
		s.Spec.Replicas = 1
		s, err = scaler.Scales(namespace).Update(c.ctx, resource, s, metav1.UpdateOptions{})
		return err
	}); err != nil {
		return "", err
	}
	err = c.until("it has grown", func() (bool, error) {
		s, err = scaler.Scales(namespace).Get(c.ctx, resource, "scaled", metav1.GetOptions{})
		return err == nil && s.Status.Replicas == 1, err
	})
	return fmt.Sprintf("%d %s", s.Status.Replicas, s.Status.Selector), err
}

// nodeStatus: what a node agent writes: a Node without a machine, its status by strategic patches, its Lease.
func nodeStatus(c *client) (string, error) {
	nodes := c.typed.CoreV1().Nodes()
	node := &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: "phantom"}, Spec: v1.NodeSpec{Unschedulable: true}}
	if _, err := nodes.Create(c.ctx, node, metav1.CreateOptions{}); err != nil {
		return "", err
	}
	defer nodes.Delete(c.ctx, "phantom", metav1.DeleteOptions{})
	for _, body := range []string{
		`{"status":{"addresses":[{"type":"InternalIP","address":"192.0.2.1"},{"type":"Hostname","address":"phantom"}],
			"conditions":[{"type":"Ready","status":"True"},{"type":"DiskPressure","status":"False"}]}}`,
		`{"status":{"$setElementOrder/conditions":[{"type":"DiskPressure"},{"type":"Ready"}],
			"addresses":[{"$patch":"replace"},{"type":"InternalIP","address":"192.0.2.2"}],
			"conditions":[{"type":"Ready","status":"False","reason":"Test"}]}}`} {
		if _, err := nodes.Patch(c.ctx, "phantom", types.StrategicMergePatchType, []byte(body), metav1.PatchOptions{}, "status"); err != nil {
			return "", err
		}
	}
	got, err := nodes.Get(c.ctx, "phantom", metav1.GetOptions{})
	if err != nil {
		return "", err
	}
	var words []string
	for _, a := range got.Status.Addresses {
		words = append(words, a.Address)
	}
	for _, condition := range got.Status.Conditions {
		words = append(words, fmt.Sprintf("%s=%s", condition.Type, condition.Status))
	}
	return strings.Join(words, " "), nil
}

// evict: a budget that allows nothing refuses in the way that drainers wait for.
func evict(c *client) (string, error) {
	one := intstr.FromInt32(1)
	labels := map[string]string{"app": "guarded"}
	pod := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "guarded", Labels: labels}, Spec: v1.PodSpec{
		TerminationGracePeriodSeconds: new(int64), Containers: []v1.Container{{Name: "c", Image: "keelson.local/busybox:1",
			Command: []string{"sleep", "1000"}}}}}
	pods, budgets := c.typed.CoreV1().Pods(namespace), c.typed.PolicyV1().PodDisruptionBudgets(namespace)
	if _, err := pods.Create(c.ctx, pod, metav1.CreateOptions{}); err != nil {
		return "", err
	}
	budget := &policyv1.PodDisruptionBudget{ObjectMeta: metav1.ObjectMeta{Name: "guard"}, Spec: policyv1.PodDisruptionBudgetSpec{
		MinAvailable: &one, Selector: &metav1.LabelSelector{MatchLabels: labels}}}
	if _, err := budgets.Create(c.ctx, budget, metav1.CreateOptions{}); err != nil {
		return "", err
	}
	err := c.until("the budget knows the pod", func() (bool, error) {
		b, err := budgets.Get(c.ctx, "guard", metav1.GetOptions{})
		return err == nil && b.Status.CurrentHealthy == 1 && b.Status.ObservedGeneration == b.Generation, err
	})
	if err != nil {
		return "", err
	}
	eviction := &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Name: "guarded", Namespace: namespace}}
	err = pods.EvictV1(c.ctx, eviction)
	words := []string{outcome(err), fmt.Sprint(apierrors.HasStatusCause(err, policyv1.DisruptionBudgetCause))}
	if err = budgets.Delete(c.ctx, "guard", metav1.DeleteOptions{}); err != nil {
		return "", err
	}
	words = append(words, outcome(pods.EvictV1(c.ctx, eviction)))
	err = c.until("the pod is gone", func() (bool, error) {
		_, err := pods.Get(c.ctx, "guarded", metav1.GetOptions{})
		return apierrors.IsNotFound(err), nil
	})
	return strings.Join(words, " "), err
}
