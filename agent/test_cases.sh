# SPDX-License-Identifier: GPL-2.0-or-later
# The checks of agent/test.sh, sourced by it.
IMG=keelson.local/busybox:1

for class in same:runc strange:none; do
	k create -f - >/dev/null <<-YAML
	apiVersion: node.k8s.io/v1
	kind: RuntimeClass
	metadata: {name: ${class%:*}}
	handler: ${class#*:}
	YAML
done
# Several pods at once, so that they start side by side.
k create configmap cm --from-literal=a=1 --from-literal=b=two >/dev/null
k create secret generic sec --from-literal=pw=geheim >/dev/null
pod plain "  containers: [{name: c, image: $IMG, command: [sh, -c, 'trap exit TERM; echo one; echo two >&2; echo three; sleep 1000 & wait']}]"
pod init "  initContainers:
  - {name: i1, image: $IMG, command: [sh, -c, 'echo first > /w/f'], volumeMounts: [{name: w, mountPath: /w}]}
  - {name: side, image: $IMG, restartPolicy: Always, command: [sh, -c, 'trap exit TERM; echo side; sleep 1000 & wait']}
  - {name: i2, image: $IMG, command: [sh, -c, 'echo second >> /w/f'], volumeMounts: [{name: w, mountPath: /w}]}
  containers: [{name: c, image: $IMG, command: [sh, -c, 'cat /w/f; trap exit TERM; sleep 1000 & wait'], volumeMounts: [{name: w, mountPath: /w}]}]
  volumes: [{name: w, emptyDir: {}}]"
pod vols "  securityContext: {fsGroup: 2000}
  containers:
  - name: c
    image: $IMG
    command: [sh, -c, 'trap exit TERM; sleep 1000 & wait']
    env: [{name: A, valueFrom: {configMapKeyRef: {name: cm, key: a}}}, {name: P, valueFrom: {secretKeyRef: {name: sec, key: pw}}}, {name: X, value: '\$(A)-\$(NONE)-\$\$(A)'}, {name: CPU, valueFrom: {resourceFieldRef: {resource: limits.cpu, divisor: 1m}}}]
    envFrom: [{prefix: CM_, configMapRef: {name: cm}}]
    resources: {limits: {cpu: 250m, memory: 64Mi}, requests: {cpu: 100m}}
    volumeMounts:
    - {name: cm, mountPath: /cm}
    - {name: sec, mountPath: /sec}
    - {name: info, mountPath: /info}
    - {name: mem, mountPath: /mem}
    - {name: host, mountPath: /host}
    - {name: cm, mountPath: /one/b, subPath: b}
    - {name: data, mountPath: /sub, subPath: x/y}
    - {name: data, mountPath: /data}
    - {name: all, mountPath: /all}
  volumes:
  - {name: cm, configMap: {name: cm}}
  - {name: sec, secret: {secretName: sec, defaultMode: 256}}
  - {name: info, downwardAPI: {items: [{path: labels, fieldRef: {fieldPath: metadata.labels}}, {path: d/name, fieldRef: {fieldPath: metadata.name}}]}}
  - {name: mem, emptyDir: {medium: Memory, sizeLimit: 1Mi}}
  - {name: data, emptyDir: {}}
  - {name: host, hostPath: {path: $D/hostdir, type: DirectoryOrCreate}}
  - {name: all, projected: {sources: [{configMap: {name: cm, items: [{key: a, path: dir/a}]}}, {secret: {name: sec}}]}}"
pod fails "  restartPolicy: Never
  containers: [{name: c, image: $IMG, command: [sh, -c, 'echo bye > /dev/termination-log; exit 7']}]"
pod fallback "  restartPolicy: Never
  containers: [{name: c, image: $IMG, terminationMessagePolicy: FallbackToLogsOnError, command: [sh, -c, 'echo last words; sleep 1; exit 1']}]"
pod done "  restartPolicy: OnFailure
  containers: [{name: c, image: $IMG, command: [\"true\"]}]"
pod crash "  containers: [{name: c, image: $IMG, command: [sh, -c, 'echo run; exit 1']}]"
pod noimage "  containers: [{name: c, image: keelson.local/none:1, imagePullPolicy: Never}]"
pod badimage "  containers: [{name: c, image: 'keelson.local/none:2'}]"
pod nocm "  containers: [{name: c, image: $IMG, env: [{name: A, valueFrom: {configMapKeyRef: {name: missing, key: a}}}], command: [sh, -c, 'echo \$A; sleep 1000']}]"
pod novol "  containers: [{name: c, image: $IMG}]
  volumes: [{name: v, secret: {secretName: missing}}]"
pod hostnet "  hostNetwork: true
  dnsPolicy: ClusterFirstWithHostNet
  containers: [{name: c, image: $IMG, command: [sleep, '1000']}]"
pod probes "  containers:
  - name: web
    image: $IMG
    command: [sh, -c, 'mkdir -p /w; echo ok > /w/index.html; httpd -p 8080 -h /w; trap exit TERM; sleep 1000 & wait']
    ports: [{name: http, containerPort: 8080, hostPort: 18081}]
    startupProbe: {exec: {command: [cat, /w/index.html]}, periodSeconds: 1, failureThreshold: 10}
    readinessProbe: {httpGet: {path: /index.html, port: http}, periodSeconds: 1, failureThreshold: 1}
    livenessProbe: {tcpSocket: {port: 8080}, periodSeconds: 1}
  - name: sick
    image: $IMG
    command: [sh, -c, 'trap exit TERM; sleep 1000 & wait']
    livenessProbe: {exec: {command: [cat, /none]}, periodSeconds: 1, failureThreshold: 1}"
pod hooks "  containers:
  - name: c
    image: $IMG
    command: [sh, -c, 'trap exit TERM; sleep 1000 & wait']
    lifecycle: {postStart: {exec: {command: [sh, -c, 'echo post > /h/post']}}, preStop: {exec: {command: [sh, -c, 'echo pre > /h/pre']}}}
    volumeMounts: [{name: h, mountPath: /h}]
  volumes: [{name: h, hostPath: {path: $D/hooks, type: DirectoryOrCreate}}]"

pod grow "  containers:
  - name: c
    image: $IMG
    command: [sh, -c, 'trap exit TERM; sleep 1000 & wait']
    resources: {requests: {cpu: 100m, memory: 32Mi}, limits: {cpu: 200m, memory: 64Mi}}
  - name: again
    image: $IMG
    command: [sh, -c, 'trap exit TERM; sleep 1000 & wait']
    resizePolicy: [{resourceName: memory, restartPolicy: RestartContainer}]
    resources: {requests: {cpu: 100m, memory: 32Mi}, limits: {cpu: 200m, memory: 64Mi}}"
pod handler "  runtimeClassName: same
  containers: [{name: c, image: $IMG, command: [sh, -c, 'trap exit TERM; sleep 1000 & wait']}]"
pod nohandler "  runtimeClassName: strange
  containers: [{name: c, image: $IMG}]"

check "a pod runs" within 20 phase_is plain Running
check "its condition Ready" within 10 k wait pod/plain --for=condition=Ready --timeout=5s
WANT=three check "its log" within 5 log_has plain
check "log --tail" is "$(k logs plain --tail=2 | wc -l)" 2
check "log --limit-bytes" is "$(k logs plain --limit-bytes=3 | wc -c)" 3
check "exec and its exit status" bash -c "! nsenter --net=/run/netns/$NS kubectl --kubeconfig $D/admin.kubeconfig exec plain -- sh -c 'exit 3'"
check "exec with stdin" is "$(echo abc | k exec -i plain -- cat)" abc
check "init containers and a sidecar" within 20 phase_is init Running
check "init containers ran in order" is "$(k logs init -c c | tr '\n' ' ')" "first second "
check "the sidecar is counted" field_is init '{.status.initContainerStatuses[1].ready}' true
check "volumes" within 20 phase_is vols Running
check "ConfigMap, Secret, projection" is "$(k exec vols -- cat /cm/a /sec/pw /one/b /all/dir/a /all/pw)" "1geheimtwo1geheim"
check "downward API" is "$(k exec vols -- cat /info/labels /info/d/name)" 'app="vols"vols'
check "variables" is "$(k exec vols -- sh -c 'echo $A $P $X $CM_b $CPU')" '1 geheim 1-$(NONE)-$(A) two 250'
check "fsGroup on an emptyDir" is "$(k exec vols -- stat -c %g /data)" 2000
check "a secret's mode with fsGroup" is "$(k exec vols -- stat -Lc %a:%g /sec/pw)" 440:2000
check "a memory volume has its limit" bash -c "! nsenter --net=/run/netns/$NS kubectl --kubeconfig $D/admin.kubeconfig exec vols -- dd if=/dev/zero of=/mem/x bs=1M count=2"
check "subPath of an emptyDir" is "$(k exec vols -- sh -c 'echo z > /sub/f; cat /data/x/y/f')" z
check "hostPath" is "$(k exec vols -- sh -c 'echo keep > /host/f'; cat "$D/hostdir/f")" keep
k patch configmap cm -p '{"data":{"a":"5"}}' >/dev/null
check "a changed ConfigMap arrives" within 5 bash -c "[ \"\$(nsenter --net=/run/netns/$NS kubectl --kubeconfig $D/admin.kubeconfig exec vols -- cat /cm/a)\" = 5 ]"
uid=$(field vols '{.metadata.uid}')
check "the container's limits" is "$(cat /sys/fs/cgroup/cpu$CG/kubepods/burstable/pod$uid/cpu.cfs_quota_us /sys/fs/cgroup/unified$CG/kubepods/burstable/pod$uid/cpu.max 2>/dev/null | head -n 1)" 25000
check "a failing pod" within 10 phase_is fails Failed
check "its exit code and message" field_is fails '{.status.containerStatuses[0].state.terminated.exitCode} {.status.containerStatuses[0].state.terminated.message}' "7 bye"
check "logs -f ends with the container" is "$(timeout 10 nsenter --net=/run/netns/$NS kubectl --kubeconfig "$D/admin.kubeconfig" logs -f fallback)" "last words"
check "a message from the log" within 10 field_is fallback '{.status.containerStatuses[0].state.terminated.message}' "last words"
check "a pod that is done" within 10 phase_is done Succeeded
check "a crash is restarted with back-off" within 25 field_is crash '{.status.containerStatuses[0].state.waiting.reason}' CrashLoopBackOff
WANT=run check "the log before the crash" within 5 log_has crash --previous
check "an image that may not be pulled" within 10 field_is noimage '{.status.containerStatuses[0].state.waiting.reason}' ErrImageNeverPull
check "an image that cannot be pulled" within 30 field_is badimage '{.status.containerStatuses[0].state.waiting.reason}' ImagePullBackOff
check "a missing ConfigMap" within 10 field_is nocm '{.status.containerStatuses[0].state.waiting.reason}' CreateContainerConfigError
k create configmap missing --from-literal=a=late >/dev/null
check "runs when it comes" within 15 phase_is nocm Running
check "a missing Secret" within 10 bash -c "nsenter --net=/run/netns/$NS kubectl --kubeconfig $D/admin.kubeconfig get events | grep -q 'FailedMount.*missing'"
check "host network" within 10 field_is hostnet '{.status.podIP}' $IP
check "probes: ready" within 15 field_is probes '{.status.containerStatuses[?(@.name=="web")].ready}' true
check "its host port" within 5 bash -c "nsenter --net=/run/netns/$NS curl -s http://$IP:18081/index.html | grep -q ok"
k exec probes -c web -- sh -c 'echo > /w/x; mkdir /w2; kill -STOP 1; true' >/dev/null 2>&1
check "probes: liveness restarts" within 20 bash -c "[ \"\$(nsenter --net=/run/netns/$NS kubectl --kubeconfig $D/admin.kubeconfig get pod probes -o jsonpath='{.status.containerStatuses[?(@.name==\"sick\")].restartCount}')\" -ge 1 ]"
check "postStart" within 10 grep -q post "$D/hooks/post"
last_words() { # of a command that ends while the client is still speaking
	for i in 1 2 3 4 5 6; do
		echo "echo bye; exit" | k run words$i --rm -i --restart=Never --image=$IMG --overrides='{"spec":{"nodeName":"n1"}}' -- sh 2>/dev/null |
			grep bye || return 1
	done
}
check "an attached command's last words arrive" last_words
check "the handler of a RuntimeClass" within 20 phase_is handler Running
check "one that the runtime does not have" within 20 bash -c "nsenter --net=/run/netns/$NS kubectl --kubeconfig $D/admin.kubeconfig get events | grep -q 'FailedCreatePodSandBox.*none'"

# Resources that change in place.
resize() { # POD CONTAINER RESOURCES-AS-JSON
	in_ns curl -s -f -o /dev/null --cacert "$D/pki/ca.crt" --cert "$D/pki/admin.crt" --key "$D/pki/admin.key" -X PATCH \
		-H 'Content-Type: application/strategic-merge-patch+json' -d "{\"spec\":{\"containers\":[{\"name\":\"$2\",\"resources\":$3}]}}" \
		"https://$IP:6443/api/v1/namespaces/default/pods/$1/resize"
}
of() { # CONTAINER: of pod grow, in status
	echo "{.status.containerStatuses[?(@.name==\"$1\")]$2}"
}
limits_of() { # [CONTAINER-ID]: quota and memory limit in the cgroup of pod grow, or of a container in it
	local v1=$CG/kubepods/burstable/pod$grow${1:+/$1}
	cat "/sys/fs/cgroup/cpu$v1/cpu.cfs_quota_us" "/sys/fs/cgroup/unified$v1/cpu.max" "/sys/fs/cgroup$v1/cpu.max" 2>/dev/null | head -n 1 | cut -d' ' -f1
	cat "/sys/fs/cgroup/memory$v1/memory.limit_in_bytes" "/sys/fs/cgroup/unified$v1/memory.max" "/sys/fs/cgroup$v1/memory.max" 2>/dev/null | head -n 1
}
limits_are() { # CONTAINER-ID QUOTA BYTES
	is "$(limits_of "$1" | tr '\n' ' ')" "$2 $3 "
}
check "a pod to be resized" within 20 phase_is grow Running
grow=$(field grow '{.metadata.uid}')
check "it tells what it runs with" within 10 field_is grow "$(of c .resources.limits.cpu) $(of c .allocatedResources.cpu)" "200m 100m"
cid=$(field grow "$(of c .containerID)")
check "more CPU and memory are taken" resize grow c '{"requests":{"cpu":"150m"},"limits":{"cpu":"400m","memory":"96Mi"}}'
check "and told" within 20 field_is grow "$(of c .resources.limits.cpu) $(of c .resources.limits.memory) $(of c .allocatedResources.cpu)" "400m 96Mi 150m"
check "the container has them" within 10 limits_are "${cid#containerd://}" 40000 100663296
check "and its pod" within 10 limits_are "" 60000 167772160
check "it was not restarted" is "$(field grow "$(of c .restartCount) $(of c .containerID)")" "0 $cid"
check "no condition stays" within 10 field_is grow '{.status.conditions[?(@.type=="PodResizeInProgress")].status}' ""
check "less is taken back" resize grow c '{"limits":{"cpu":"300m"}}'
check "in the pod too" within 20 limits_are "" 50000 167772160
check "memory that wants a restart" resize grow again '{"limits":{"memory":"80Mi"}}'
check "gets it" within 30 field_is grow "$(of again .restartCount) $(of again .resources.limits.memory)" "1 80Mi"
check "what no node has" resize grow c '{"requests":{"cpu":"900"},"limits":{"cpu":"900"}}'
check "is refused" within 20 field_is grow '{.status.conditions[?(@.type=="PodResizePending")].reason}' Infeasible
check "and not given" is "$(field grow "$(of c .resources.limits.cpu) $(of c .allocatedResources.cpu)")" "300m 150m"
k exec grow -c c -- dd if=/dev/zero of=/dev/shm/x bs=1M count=40 >/dev/null 2>&1
check "memory that is in use" resize grow c '{"requests":{"cpu":"150m"},"limits":{"cpu":"300m","memory":"33Mi"}}'
check "is not taken away" within 20 field_is grow '{.status.conditions[?(@.type=="PodResizeInProgress")].reason}' Error
check "and what was too much is forgotten" is "$(field grow '{.status.conditions[?(@.type=="PodResizePending")].reason}')" ""
k exec grow -c c -- sh -c 'echo > /dev/shm/x'
check "when it is free, it is" within 30 field_is grow "$(of c .resources.limits.memory)" 33Mi

before=$(field plain '{.status.containerStatuses[0].containerID}')
stop agent KILL
start_agent
sleep 1
check "a killed agent disturbs no pod" is "$(field plain '{.status.containerStatuses[0].containerID} {.status.containerStatuses[0].restartCount}')" "$before 0"
check "what was resized is not forgotten" field_is grow "$(of c .resources.limits.memory) $(of c .resources.limits.cpu)" "33Mi 300m"
check "the node is ready again" within 10 k wait node/n1 --for=condition=Ready --timeout=5s
code() { in_ns curl -sk -o /dev/null -w '%{http_code}' "$@"; }
check "no certificate" is "$(code https://$IP:10250/pods)" 401
check "a stranger's certificate" is "$(code --cert "$D/pki/nobody.crt" --key "$D/pki/nobody.key" https://$IP:10250/pods)" 403
check "the API server's" is "$(code --cert "$D/pki/client.crt" --key "$D/pki/client.key" https://$IP:10250/pods)" 200
check "health" is "$(in_ns curl -s http://127.0.0.1:10248/healthz)" ok
check "usage of containers" bash -c "nsenter --net=/run/netns/$NS curl -sk --cert $D/pki/client.crt --key $D/pki/client.key https://$IP:10250/metrics/resource | grep -q 'container_memory_working_set_bytes{container=\"c\",namespace=\"default\",pod=\"plain\"}'"
cert agent-server /CN=renewed "IP:$IP,DNS:n1"
check "a renewed certificate is served" within 15 bash -c "nsenter --net=/run/netns/$NS openssl s_client -connect $IP:10250 </dev/null 2>/dev/null | openssl x509 -noout -subject | grep -q renewed"
in_ns timeout 20 kubectl --kubeconfig "$D/admin.kubeconfig" port-forward pod/probes 18080:8080 >/dev/null 2>&1 &
forward=$!
check "port-forward" within 5 bash -c "nsenter --net=/run/netns/$NS curl -s http://127.0.0.1:18080/index.html | grep -q ok"
kill $forward 2>/dev/null
stop containerd KILL
check "pods survive the runtime's death" is "$(field plain '{.status.phase}')" Running
start_containerd
check "the node is ready with it again" within 15 k wait node/n1 --for=condition=Ready --timeout=5s
pid=$(ctrd tasks ls 2>/dev/null | awk -v id="${before#containerd://}" '$1 == id { print $2 }')
check "its container runs on" kill -KILL "${pid:-none}"
check "a killed container runs again" within 15 field_is plain '{.status.containerStatuses[0].restartCount}' 1
# As after a reboot: the sandbox's process may even live, but its network namespace is gone.
stop agent KILL
stop containerd KILL
awk -v d="$D/" 'index($5, d) == 1 && /netns/ { print $5 }' /proc/self/mountinfo | while read -r m; do umount -l "$m"; rm -f "$m"; done
start_containerd
start_agent
check "a pod without its network gets a new one" within 20 bash -c "nsenter --net=/run/netns/$NS kubectl --kubeconfig $D/admin.kubeconfig get events | grep -q 'SandboxChanged.*pod/plain'"
check "and runs in it again" within 20 bash -c "nsenter --net=/run/netns/$NS kubectl --kubeconfig $D/admin.kubeconfig exec plain -- ls /sys/class/net/eth0"
k delete pod plain vols hooks done fails --wait=false >/dev/null
check "deleted pods go" within 20 bash -c "! nsenter --net=/run/netns/$NS kubectl --kubeconfig $D/admin.kubeconfig get pod plain vols hooks done fails --ignore-not-found | grep -q ."
check "preStop" grep -q pre "$D/hooks/pre"
check "a hostPath's data stays" is "$(cat "$D/hostdir/f")" keep
check "nothing of them is left" within 5 bash -c "! ls -d $D/agent/pods/$uid $D/logs/pods/*_$uid /sys/fs/cgroup/*$CG/kubepods/*/pod$uid 2>/dev/null | grep -q ."
# What a dead agent could not see: the object goes while it is away.
stop agent KILL
gone=$(field init '{.metadata.uid}')
k delete pod init --force --grace-period=0 >/dev/null 2>&1
start_agent
check "a pod unknown to the API is removed" within 15 bash -c "! ls -d $D/agent/pods/$gone $D/logs/pods/*_$gone 2>/dev/null | grep -q ."
k delete pods --all --wait=false --grace-period=1 >/dev/null
check "every pod goes" within 30 bash -c "[ -z \"\$(ctr -a $D/containerd/containerd.sock -n k8s.io containers ls -q)\" ]"
check "no mount is left" bash -c "! grep -q $D/agent /proc/self/mountinfo"
check "no directory is left" within 40 bash -c "[ -z \"\$(ls $D/agent/pods $D/logs/pods | grep -v :)\" ]"
rss=$(awk '/VmRSS/ { print $2 }' "/proc/$(cat "$D/run/agent.pid")/status")
ldd "$B/bin/keelson-agent" | grep -q libasan && MAX_RSS=1000000
check "the agent is small (${rss} kB)" test "$rss" -lt "${MAX_RSS:-20000}"
