// SPDX-License-Identifier: GPL-2.0-or-later

package main

import (
	"encoding/json"
	"fmt"
	"strings"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	v1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

func init() {
	behaviours = append(behaviours,
		behaviour{"accounts: life, and pods that do not want a token", accountLife},
		behaviour{"accounts: the token in a pod is good for the API, and until the pod goes", accountToken},
		behaviour{"accounts: every namespace has the cluster's CA, and gets it back", rootCA},
		behaviour{"accounts: issuer discovery", issuer},
		behaviour{"rights: subject reviews see what roles grant", subjectReviews},
		behaviour{"rights: nobody grants more than he has", escalation},
		behaviour{"rights: impersonation", impersonation},
	)
}

func (t *trial) account(name string) *v1.ServiceAccount {
	a, err := t.typed.CoreV1().ServiceAccounts(t.ns).Create(t.ctx, &v1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	t.must(err)
	return a
}

func (t *trial) role(name, verb, resource string, subject rbacv1.Subject) {
	_, err := t.typed.RbacV1().Roles(t.ns).Create(t.ctx, &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: name},
		Rules: []rbacv1.PolicyRule{{Verbs: []string{verb}, APIGroups: []string{""}, Resources: []string{resource}}}}, metav1.CreateOptions{})
	t.must(err)
	_, err = t.typed.RbacV1().RoleBindings(t.ns).Create(t.ctx, &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Name: name},
		RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: name}, Subjects: []rbacv1.Subject{subject}}, metav1.CreateOptions{})
	t.must(err)
}

// as is a client that impersonates a user.
func (t *trial) as(user string) kubernetes.Interface {
	config := rest.CopyConfig(t.config)
	config.Impersonate.UserName = user
	return kubernetes.NewForConfigOrDie(config)
}

func accountLife(t *trial) {
	api := t.typed.CoreV1().ServiceAccounts(t.ns)
	a := t.account("life")
	no := false
	a.AutomountServiceAccountToken = &no
	a, err := api.Update(t.ctx, a, metav1.UpdateOptions{})
	t.must(err)
	_, err = api.Patch(t.ctx, "life", types.StrategicMergePatchType, []byte(`{"metadata":{"labels":{"patched":"yes"}}}`), metav1.PatchOptions{})
	t.must(err)
	found, err := t.typed.CoreV1().ServiceAccounts("").List(t.ctx, metav1.ListOptions{LabelSelector: "patched=yes", FieldSelector: "metadata.namespace=" + t.ns})
	t.must(err)
	t.equal("accounts", len(found.Items), 1)
	yes := true
	t.account("plain")
	for _, want := range []struct {
		account string
		pod     *bool
		mounts  int
	}{{"life", nil, 0}, {"life", &yes, 1}, {"life", &no, 0}, {"plain", nil, 1}, {"plain", &no, 0}} {
		template := podTemplate(nil)
		template.Spec.ServiceAccountName, template.Spec.AutomountServiceAccountToken, template.Spec.SchedulerName = want.account, want.pod, "nobody"
		pod, err := t.typed.CoreV1().Pods(t.ns).Create(t.ctx, &v1.Pod{ObjectMeta: metav1.ObjectMeta{GenerateName: "mounts-"}, Spec: template.Spec}, metav1.CreateOptions{})
		t.must(err)
		t.equal(want.account, len(pod.Spec.Containers[0].VolumeMounts), want.mounts)
	}
	t.must(api.DeleteCollection(t.ctx, metav1.DeleteOptions{}, metav1.ListOptions{LabelSelector: "patched=yes"}))
	_, err = api.Get(t.ctx, "life", metav1.GetOptions{})
	t.refused("deleted", "NotFound", err)
	template := podTemplate(nil)
	template.Spec.ServiceAccountName = "life"
	_, err = t.typed.CoreV1().Pods(t.ns).Create(t.ctx, &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "late"}, Spec: template.Spec}, metav1.CreateOptions{})
	t.refused("a pod of an account that is not there", "Forbidden", err)
}

func accountToken(t *trial) {
	t.account("runner")
	t.role("reader", "get", "configmaps", rbacv1.Subject{Kind: "ServiceAccount", Name: "runner", Namespace: t.ns})
	template := podTemplate(nil)
	template.Spec.ServiceAccountName = "runner"
	template.Spec.Containers[0].Image = "keelson.local/busybox:1"
	template.Spec.Containers[0].Command = []string{"sh", "-c",
		"d=/var/run/secrets/kubernetes.io/serviceaccount; cat $d/namespace; echo; head -n 1 $d/ca.crt; cat $d/token; echo; cat /own/token; echo; sleep 1000"}
	life := int64(600)
	template.Spec.Volumes = []v1.Volume{{Name: "own", VolumeSource: v1.VolumeSource{Projected: &v1.ProjectedVolumeSource{Sources: []v1.VolumeProjection{
		{ServiceAccountToken: &v1.ServiceAccountTokenProjection{Path: "token", Audience: "vault", ExpirationSeconds: &life}}}}}}}
	template.Spec.Containers[0].VolumeMounts = []v1.VolumeMount{{Name: "own", MountPath: "/own"}}
	pod, err := t.typed.CoreV1().Pods(t.ns).Create(t.ctx, &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "runner"}, Spec: template.Spec}, metav1.CreateOptions{})
	t.must(err)
	var lines []string
	t.eventually("the pod tells its tokens", func() (bool, error) {
		text, err := t.typed.CoreV1().Pods(t.ns).GetLogs("runner", &v1.PodLogOptions{}).DoRaw(t.ctx)
		lines = strings.Split(strings.TrimSpace(string(text)), "\n")
		return err == nil && len(lines) == 4, nil
	})
	t.equal("namespace", lines[0], t.ns)
	t.equal("CA", lines[1], "-----BEGIN CERTIFICATE-----")
	review := func(token string, audiences ...string) authenticationv1.TokenReviewStatus {
		r, err := t.typed.AuthenticationV1().TokenReviews().Create(t.ctx, &authenticationv1.TokenReview{
			Spec: authenticationv1.TokenReviewSpec{Token: token, Audiences: audiences}}, metav1.CreateOptions{})
		t.must(err)
		return r.Status
	}
	status := review(lines[2])
	t.equal("user", status.User.Username, "system:serviceaccount:"+t.ns+":runner")
	t.equal("pod of the token", fmt.Sprint(status.User.Extra["authentication.kubernetes.io/pod-uid"]), "["+string(pod.UID)+"]")
	t.equal("for the vault", fmt.Sprint(review(lines[3], "vault").Authenticated, review(lines[3]).Authenticated), "true false")
	config := rest.AnonymousClientConfig(t.config)
	config.BearerToken = lines[2]
	runner := kubernetes.NewForConfigOrDie(config)
	_, err = runner.CoreV1().ConfigMaps(t.ns).Get(t.ctx, "kube-root-ca.crt", metav1.GetOptions{})
	t.must(err)
	_, err = runner.CoreV1().Secrets(t.ns).List(t.ctx, metav1.ListOptions{})
	t.refused("what was not granted", "Forbidden", err)
	t.must(t.typed.CoreV1().Pods(t.ns).Delete(t.ctx, "runner", metav1.DeleteOptions{}))
	t.eventually("the token of a pod that is gone is not good any more", func() (bool, error) { return !review(lines[2]).Authenticated, nil })
}

func rootCA(t *trial) {
	api := t.typed.CoreV1().ConfigMaps(t.ns)
	const name = "kube-root-ca.crt"
	there := func() (bool, error) {
		o, err := api.Get(t.ctx, name, metav1.GetOptions{})
		return err == nil && strings.HasPrefix(o.Data["ca.crt"], "-----BEGIN CERTIFICATE-----"), nil
	}
	t.eventually("it is there", there)
	t.must(api.Delete(t.ctx, name, metav1.DeleteOptions{}))
	t.eventually("it is made again", there)
	o, err := api.Get(t.ctx, name, metav1.GetOptions{})
	t.must(err)
	o.Data["ca.crt"] = ""
	_, err = api.Update(t.ctx, o, metav1.UpdateOptions{})
	t.must(err)
	t.eventually("it is mended", there)
}

func issuer(t *trial) {
	a := t.account("asker")
	_, err := t.typed.RbacV1().ClusterRoleBindings().Create(t.ctx, &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: t.ns},
		RoleRef:  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "system:service-account-issuer-discovery"},
		Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Name: a.Name, Namespace: t.ns}}}, metav1.CreateOptions{})
	t.must(err)
	defer t.typed.RbacV1().ClusterRoleBindings().Delete(t.ctx, t.ns, metav1.DeleteOptions{})
	token, err := t.typed.CoreV1().ServiceAccounts(t.ns).CreateToken(t.ctx, a.Name, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	t.must(err)
	asker := *t.client
	asker.config = rest.AnonymousClientConfig(t.config)
	asker.config.BearerToken = token.Status.Token
	with := &trial{client: &asker, ns: t.ns}
	var document struct {
		Issuer  string
		JWKSURI string   `json:"jwks_uri"`
		Algs    []string `json:"id_token_signing_alg_values_supported"`
	}
	var keys struct{ Keys []map[string]string }
	answer, text := with.get("/.well-known/openid-configuration", "application/json", nil)
	t.equal("answer", answer.StatusCode, 200)
	t.must(json.Unmarshal(text, &document))
	if document.Issuer == "" || document.JWKSURI == "" || len(document.Algs) == 0 {
		t.fail("the document is not complete: %s", text)
	}
	answer, text = with.get("/openid/v1/jwks", "application/jwk-set+json", nil)
	t.must(json.Unmarshal(text, &keys))
	t.equal("type", answer.Header.Get("Content-Type"), "application/jwk-set+json")
	if len(keys.Keys) == 0 || keys.Keys[0]["kid"] == "" {
		t.fail("no key: %s", text)
	}
}

func subjectReviews(t *trial) {
	t.role("reader", "get", "pods", rbacv1.Subject{Kind: "User", APIGroup: rbacv1.GroupName, Name: "reader"})
	about := func(ns, verb string) *authorizationv1.ResourceAttributes {
		return &authorizationv1.ResourceAttributes{Namespace: ns, Verb: verb, Resource: "pods"}
	}
	reviews := t.typed.AuthorizationV1()
	for _, want := range []struct {
		ns, verb string
		allowed  bool
	}{{t.ns, "get", true}, {t.ns, "delete", false}, {"default", "get", false}} {
		r, err := reviews.SubjectAccessReviews().Create(t.ctx, &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
			User: "reader", ResourceAttributes: about(want.ns, want.verb)}}, metav1.CreateOptions{})
		t.must(err)
		t.equal(want.verb+" in "+want.ns, r.Status.Allowed, want.allowed)
	}
	local, err := reviews.LocalSubjectAccessReviews(t.ns).Create(t.ctx, &authorizationv1.LocalSubjectAccessReview{ObjectMeta: metav1.ObjectMeta{Namespace: t.ns},
		Spec: authorizationv1.SubjectAccessReviewSpec{User: "reader", ResourceAttributes: about(t.ns, "get")}}, metav1.CreateOptions{})
	t.must(err)
	t.equal("local", local.Status.Allowed, true)
	_, err = reviews.LocalSubjectAccessReviews(t.ns).Create(t.ctx, &authorizationv1.LocalSubjectAccessReview{ObjectMeta: metav1.ObjectMeta{Namespace: t.ns},
		Spec: authorizationv1.SubjectAccessReviewSpec{User: "reader", ResourceAttributes: about("default", "get")}}, metav1.CreateOptions{})
	t.refused("of another namespace", "Invalid", err)
	rules, err := t.as("reader").AuthorizationV1().SelfSubjectRulesReviews().Create(t.ctx, &authorizationv1.SelfSubjectRulesReview{
		Spec: authorizationv1.SelfSubjectRulesReviewSpec{Namespace: t.ns}}, metav1.CreateOptions{})
	t.must(err)
	found := false
	for _, r := range rules.Status.ResourceRules {
		found = found || strings.Join(r.Resources, ",") == "pods" && strings.Join(r.Verbs, ",") == "get"
	}
	t.equal("among one's own rules", found, true)
}

func escalation(t *trial) {
	t.role("grants", "*", "configmaps", rbacv1.Subject{Kind: "User", APIGroup: rbacv1.GroupName, Name: "granter"})
	for _, resource := range []string{"roles", "rolebindings"} {
		_, err := t.typed.RbacV1().Roles(t.ns).Create(t.ctx, &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: resource},
			Rules: []rbacv1.PolicyRule{{Verbs: []string{"create"}, APIGroups: []string{rbacv1.GroupName}, Resources: []string{resource}}}}, metav1.CreateOptions{})
		t.must(err)
		_, err = t.typed.RbacV1().RoleBindings(t.ns).Create(t.ctx, &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Name: resource},
			RoleRef:  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: resource},
			Subjects: []rbacv1.Subject{{Kind: "User", APIGroup: rbacv1.GroupName, Name: "granter"}}}, metav1.CreateOptions{})
		t.must(err)
	}
	granter := t.as("granter").RbacV1()
	role := func(name, resource string) error {
		_, err := granter.Roles(t.ns).Create(t.ctx, &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: name},
			Rules: []rbacv1.PolicyRule{{Verbs: []string{"get"}, APIGroups: []string{""}, Resources: []string{resource}}}}, metav1.CreateOptions{})
		return err
	}
	t.must(role("less", "configmaps"))
	err := role("more", "secrets")
	t.refused("more than one has", "Forbidden", err)
	if !strings.Contains(err.Error(), "is attempting to grant RBAC permissions not currently held") {
		t.fail("%v", err)
	}
	_, err = granter.RoleBindings(t.ns).Create(t.ctx, &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "admin"},
		RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "admin"}}, metav1.CreateOptions{})
	t.refused("a binding to more than one has", "Forbidden", err)
}

func impersonation(t *trial) {
	config := rest.CopyConfig(t.config)
	config.Impersonate = rest.ImpersonationConfig{UserName: "somebody", UID: "42", Groups: []string{"visitors"},
		Extra: map[string][]string{"example.com/why": {"a test", "another"}}}
	who, err := kubernetes.NewForConfigOrDie(config).AuthenticationV1().SelfSubjectReviews().Create(t.ctx, &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	t.must(err)
	u := who.Status.UserInfo
	t.equal("user", fmt.Sprint(u.Username, u.UID, u.Groups, u.Extra["example.com/why"]), "somebody42[visitors system:authenticated] [a test another]")
	_, err = t.as("somebody").CoreV1().Secrets(t.ns).List(t.ctx, metav1.ListOptions{})
	t.refused("as somebody else", "Forbidden", err)
	if apierrors.ReasonForError(err) != metav1.StatusReasonForbidden || !strings.Contains(err.Error(), `User "somebody" cannot list resource "secrets"`) {
		t.fail("%v", err)
	}
}
