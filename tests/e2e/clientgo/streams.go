// SPDX-License-Identifier: GPL-2.0-or-later

package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	certificatesv1 "k8s.io/api/certificates/v1"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/transport/spdy"
	"k8s.io/client-go/util/certificate/csr"
	utilexec "k8s.io/client-go/util/exec"
	"k8s.io/streaming/pkg/httpstream"
)

// podURL is the URL of a subresource of the pod that the first argument names.
func (c *client) podURL(subresource string, options *v1.PodExecOptions) *url.URL {
	r := c.typed.CoreV1().RESTClient().Post().Resource("pods").Namespace(namespace).Name(c.arg(0)).SubResource(subresource)
	if options != nil {
		r = r.VersionedParams(options, scheme.ParameterCodec)
	}
	return r.URL()
}

// execute: over WebSocket with the fallback that kubectl has, and over SPDY: both streams, input and the exit code.
func execute(c *client) (string, error) {
	var got []string
	for _, how := range []string{"websocket", "spdy"} {
		u := c.podURL("exec", &v1.PodExecOptions{Container: "", Stdin: true, Stdout: true, Stderr: true,
			Command: []string{"sh", "-c", "read line; echo out:$line; echo err:$line >&2; exit 3"}})
		old, err := remotecommand.NewSPDYExecutor(c.config, "POST", u)
		if err != nil {
			return "", err
		}
		executor := old
		if how == "websocket" {
			socket, err := remotecommand.NewWebSocketExecutor(c.config, "GET", u.String())
			if err != nil {
				return "", err
			}
			if executor, err = remotecommand.NewFallbackExecutor(socket, old, func(err error) bool {
				return httpstream.IsUpgradeFailure(err) || httpstream.IsHTTPSProxyError(err)
			}); err != nil {
				return "", err
			}
		}
		var out, diag bytes.Buffer
		err = executor.StreamWithContext(c.ctx, remotecommand.StreamOptions{Stdin: strings.NewReader(how + "\n"), Stdout: &out, Stderr: &diag})
		var code utilexec.CodeExitError
		if !errors.As(err, &code) {
			return "", fmt.Errorf("%s: no exit code: %v", how, err)
		}
		got = append(got, strings.TrimSpace(out.String()), strings.TrimSpace(diag.String()), fmt.Sprint(code.Code))
	}
	return strings.Join(got, " "), nil
}

// portForward: to the port of the second argument, through SPDY.
func portForward(c *client) (string, error) {
	transport, upgrader, err := spdy.RoundTripperFor(c.config)
	if err != nil {
		return "", err
	}
	dialer := spdy.NewDialer(upgrader, &http.Client{Transport: transport}, "POST", c.podURL("portforward", nil))
	stop, ready := make(chan struct{}), make(chan struct{})
	f, err := portforward.New(dialer, []string{"0:" + c.arg(1)}, stop, ready, io.Discard, io.Discard)
	if err != nil {
		return "", err
	}
	failed := make(chan error, 1)
	go func() { failed <- f.ForwardPorts() }()
	select {
	case err = <-failed:
		return "", err
	case <-ready:
	}
	defer close(stop)
	ports, err := f.GetPorts()
	if err != nil {
		return "", err
	}
	codes := ""
	for i := 0; i < 5; i++ {
		answer, err := (&http.Client{Transport: &http.Transport{Proxy: nil}}).Get(fmt.Sprintf("http://127.0.0.1:%d/", ports[0].Local))
		if err != nil {
			return "", err
		}
		io.Copy(io.Discard, answer.Body)
		answer.Body.Close()
		codes += fmt.Sprint(answer.StatusCode, " ")
	}
	return strings.TrimSpace(codes), nil
}

// certificate: what a kubelet does to get its certificate, approved by an administrator.
func certificate(c *client) (string, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", err
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "somebody",
		Organization: []string{"visitors"}}}, key)
	if err != nil {
		return "", err
	}
	request := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
	life := time.Hour
	name, uid, err := csr.RequestCertificateWithContext(c.ctx, c.typed, request, "visitor", certificatesv1.KubeAPIServerClientSignerName, &life,
		[]certificatesv1.KeyUsage{certificatesv1.UsageDigitalSignature, certificatesv1.UsageClientAuth}, key)
	if err != nil {
		return "", err
	}
	requests := c.typed.CertificatesV1().CertificateSigningRequests()
	o, err := requests.Get(c.ctx, name, metav1.GetOptions{})
	if err != nil {
		return "", err
	}
	o.Status.Conditions = append(o.Status.Conditions, certificatesv1.CertificateSigningRequestCondition{
		Type: certificatesv1.CertificateApproved, Status: v1.ConditionTrue, Reason: "Test", Message: "approved by a test"})
	if _, err = requests.UpdateApproval(c.ctx, name, o, metav1.UpdateOptions{}); err != nil {
		return "", err
	}
	signed, err := csr.WaitForCertificate(c.ctx, c.typed, name, uid)
	if err != nil {
		return "", err
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return "", err
	}
	config := rest.AnonymousClientConfig(c.config)
	config.CertData, config.KeyData = signed, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER})
	who, err := kubernetes.NewForConfigOrDie(config).AuthenticationV1().SelfSubjectReviews().Create(c.ctx,
		&authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s %s", who.Status.UserInfo.Username, strings.Join(who.Status.UserInfo.Groups, ",")), nil
}

// recordEvents: the same thing said three times is one Event with a series.
func recordEvents(c *client) (string, error) {
	o, err := c.typed.CoreV1().ConfigMaps(namespace).Create(c.ctx, configMap("noted", 0), metav1.CreateOptions{})
	if err != nil {
		return "", err
	}
	o.APIVersion, o.Kind = "v1", "ConfigMap"
	broadcaster := events.NewEventBroadcasterAdapterWithContext(c.ctx, c.typed)
	broadcaster.StartRecordingToSink(c.ctx.Done())
	recorder := broadcaster.NewRecorder("clientgo")
	for i := 0; i < 3; i++ {
		recorder.Eventf(o, nil, v1.EventTypeNormal, "Noted", "Noting", "seen")
		time.Sleep(300 * time.Millisecond)
	}
	var words string
	err = c.until("the event is there", func() (bool, error) {
		list, err := c.typed.EventsV1().Events(namespace).List(c.ctx, metav1.ListOptions{FieldSelector: "reason=Noted"})
		if err != nil || len(list.Items) == 0 || list.Items[0].Series == nil {
			return false, err
		}
		words = fmt.Sprintf("%d %s %s", len(list.Items), list.Items[0].Regarding.Name, list.Items[0].Note)
		return true, nil
	})
	return words, err
}

func followLogs(c *client) (string, error) {
	stream, err := c.typed.CoreV1().Pods(namespace).GetLogs(c.arg(0), &v1.PodLogOptions{Follow: true}).Stream(c.ctx)
	if err != nil {
		return "", err
	}
	defer stream.Close()
	text, err := io.ReadAll(stream)
	return strings.Join(strings.Fields(string(text)), " "), err
}

// tokens: a ServiceAccount's token is good for what it was asked for, and for no one else's.
func tokens(c *client) (string, error) {
	accounts := c.typed.CoreV1().ServiceAccounts(namespace)
	if _, err := accounts.Create(c.ctx, &v1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "robot"}}, metav1.CreateOptions{}); err != nil {
		return "", err
	}
	var got []string
	for _, audiences := range [][]string{nil, {"vault"}} {
		request, err := accounts.CreateToken(c.ctx, "robot", &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
			Audiences: audiences}}, metav1.CreateOptions{})
		if err != nil {
			return "", err
		}
		review, err := c.typed.AuthenticationV1().TokenReviews().Create(c.ctx, &authenticationv1.TokenReview{
			Spec: authenticationv1.TokenReviewSpec{Token: request.Status.Token, Audiences: audiences}}, metav1.CreateOptions{})
		if err != nil {
			return "", err
		}
		config := rest.AnonymousClientConfig(c.config)
		config.BearerToken = request.Status.Token
		robot := kubernetes.NewForConfigOrDie(config)
		_, err = robot.CoreV1().Pods(namespace).List(c.ctx, metav1.ListOptions{})
		got = append(got, fmt.Sprint(review.Status.Authenticated), review.Status.User.Username, outcome(err))
	}
	access, err := c.typed.AuthorizationV1().SubjectAccessReviews().Create(c.ctx, &authorizationv1.SubjectAccessReview{
		Spec: authorizationv1.SubjectAccessReviewSpec{User: "system:serviceaccount:default:robot", ResourceAttributes: &authorizationv1.ResourceAttributes{
			Verb: "list", Resource: "pods", Namespace: namespace}}}, metav1.CreateOptions{})
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s allowed=%v", strings.Join(got, " "), access.Status.Allowed), nil
}
