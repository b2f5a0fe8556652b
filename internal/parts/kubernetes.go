package parts

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// KubernetesServer is a running Kubernetes API with nothing behind it, for one test: no kubelet, no scheduler, no
// controllers. A Node is only an object there, so tests make and lose as many as they like.
type KubernetesServer struct {
	URL   string // of the API, https on loopback, without a slash at the end
	Token string // may do everything
	// Config is the path of a kubeconfig file with all of the above, for KUBECONFIG.
	Config string

	client *http.Client
}

// KubectlMirror returns an unpacked filesystem mirror that holds gavinbunney/kubectl v1.19.0, for MirrorConfig. It is
// apart from Mirror because it takes long to build.
func KubectlMirror(t testing.TB) string {
	t.Helper()
	return need(t, "kubectl")
}

// Kubernetes starts kube-apiserver v1.36.3 on a free loopback port, over an etcd of its own in a temporary directory,
// and stops both when the test ends. It has the namespaces that every cluster has, and no node.
func Kubernetes(t testing.TB) *KubernetesServer {
	t.Helper()
	part := need(t, "kubernetes")
	dir := t.TempDir()
	token, err := kubernetesFiles(dir)
	if err != nil {
		t.Fatalf("write the files of the Kubernetes API: %v", err)
	}
	etcd := startEtcd(t, part, dir)

	var failures []error
	for range 5 { // a chosen port can be lost to another process before the server listens
		address, err := freeAddress()
		if err != nil {
			t.Fatalf("find a free port for the Kubernetes API: %v", err)
		}
		_, port, _ := strings.Cut(address, ":")
		certificates := filepath.Join(dir, "certificates-"+port) // the server makes them for its address
		program, err := startProcess(exec.Command(filepath.Join(part, "kube-apiserver"),
			"--etcd-servers", etcd,
			"--bind-address", "127.0.0.1", "--advertise-address", "127.0.0.1", "--secure-port", port,
			"--endpoint-reconciler-type", "none", // it refuses a loopback address, and nobody asks for it
			"--cert-dir", certificates,
			"--token-auth-file", filepath.Join(dir, "tokens.csv"), "--anonymous-auth=false",
			"--authorization-mode", "RBAC",
			"--disable-admission-plugins", "ServiceAccount", // a controller would have to make the accounts
			"--service-account-issuer", "https://kubernetes.default.svc",
			"--service-account-key-file", filepath.Join(dir, "accounts.pem"),
			"--service-account-signing-key-file", filepath.Join(dir, "accounts.pem"),
			"--service-cluster-ip-range", "10.0.0.0/24",
		), dir)
		if err != nil {
			t.Fatalf("start kube-apiserver: %v", err)
		}
		server := &KubernetesServer{URL: "https://" + address, Token: token, Config: filepath.Join(dir, "kubeconfig")}
		if err := server.await(filepath.Join(certificates, "apiserver.crt"), program.exited); err != nil {
			program.stop()
			failures = append(failures, fmt.Errorf("%w: %s", err, program.output))
			continue
		}
		t.Cleanup(func() {
			server.client.CloseIdleConnections()
			program.stop()
			if t.Failed() {
				t.Logf("kube-apiserver's log:\n%s", program.output)
			}
		})
		return server
	}
	t.Fatalf("start kube-apiserver: %v", failures)
	return nil
}

// Do calls the API, with in as JSON unless it is nil, and reads the answer into out unless that is nil. A PATCH is a
// merge patch: what is null in it is removed. Any answer but a 2xx fails the test.
func (s *KubernetesServer) Do(t testing.TB, method, path string, in, out any) {
	t.Helper()
	status, answer, err := s.call(t, method, path, in)
	if err != nil || status/100 != 2 {
		t.Fatalf("Kubernetes: %s %s: %d, %v\n%s", method, path, status, err, answer)
	}
	if out != nil {
		if err := json.Unmarshal(answer, out); err != nil {
			t.Fatalf("Kubernetes: %s %s answers %s: %v", method, path, answer, err)
		}
	}
}

// Has tells whether there is an object at a path of the API.
func (s *KubernetesServer) Has(t testing.TB, path string) bool {
	t.Helper()
	status, answer, err := s.call(t, http.MethodGet, path, nil)
	if err != nil || status != http.StatusOK && status != http.StatusNotFound {
		t.Fatalf("Kubernetes: GET %s: %d, %v\n%s", path, status, err, answer)
	}
	return status == http.StatusOK
}

// DeleteNamespace deletes an empty namespace. The API alone would keep it in Terminating for ever: a controller, which
// is not there, has to say that nothing is left in it.
func (s *KubernetesServer) DeleteNamespace(t testing.TB, name string) {
	t.Helper()
	var namespace map[string]any
	s.Do(t, http.MethodDelete, "/api/v1/namespaces/"+name, nil, &namespace)
	namespace["spec"] = map[string]any{"finalizers": []string{}}
	s.Do(t, http.MethodPut, "/api/v1/namespaces/"+name+"/finalize", namespace, nil)
}

func (s *KubernetesServer) call(t testing.TB, method, path string, in any) (int, []byte, error) {
	var body bytes.Buffer
	if in != nil {
		if err := json.NewEncoder(&body).Encode(in); err != nil {
			return 0, nil, err
		}
	}
	request, err := http.NewRequestWithContext(t.Context(), method, s.URL+path, &body)
	if err != nil {
		return 0, nil, err
	}
	request.Header.Set("Authorization", "Bearer "+s.Token)
	request.Header.Set("Content-Type", "application/json")
	if method == http.MethodPatch {
		request.Header.Set("Content-Type", "application/merge-patch+json")
	}
	response, err := s.client.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	return response.StatusCode, answer, err
}

// await returns once the API is ready and its kubeconfig is written. certificate is the file that the server makes
// while it starts. Two minutes are far more than it needs, even on a loaded machine.
func (s *KubernetesServer) await(certificate string, exited <-chan struct{}) error {
	deadline := time.After(2 * time.Minute)
	for {
		if s.client == nil {
			if text, err := os.ReadFile(certificate); err == nil {
				if err := s.trust(text); err != nil {
					return err
				}
			}
		}
		if s.client != nil && s.ready() {
			return nil
		}
		select {
		case <-exited:
			return fmt.Errorf("kube-apiserver ended before it was ready")
		case <-deadline:
			return fmt.Errorf("kube-apiserver was not ready within two minutes")
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// trust makes the client and the kubeconfig. Half a certificate, as it is found while it is written, changes nothing.
func (s *KubernetesServer) trust(certificate []byte) error {
	roots := x509.NewCertPool()
	if block, _ := pem.Decode(certificate); block == nil || !roots.AppendCertsFromPEM(certificate) {
		return nil
	}
	config := map[string]any{
		"apiVersion": "v1", "kind": "Config", "current-context": "test",
		"clusters": []any{map[string]any{"name": "test", "cluster": map[string]any{
			"server": s.URL, "certificate-authority-data": base64.StdEncoding.EncodeToString(certificate),
		}}},
		"users":    []any{map[string]any{"name": "operator", "user": map[string]any{"token": s.Token}}},
		"contexts": []any{map[string]any{"name": "test", "context": map[string]any{"cluster": "test", "user": "operator"}}},
	}
	text, err := json.Marshal(config) // which is YAML, too
	if err != nil {
		return err
	}
	if err := os.WriteFile(s.Config, text, 0o600); err != nil {
		return err
	}
	s.client = &http.Client{
		Timeout:   30 * time.Second,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}},
	}
	return nil
}

func (s *KubernetesServer) ready() bool {
	request, err := http.NewRequest(http.MethodGet, s.URL+"/readyz", nil)
	if err != nil {
		return false
	}
	request.Header.Set("Authorization", "Bearer "+s.Token)
	response, err := s.client.Do(request)
	if err != nil {
		return false
	}
	response.Body.Close()
	return response.StatusCode == http.StatusOK
}

// kubernetesFiles writes what the API reads when it starts: one user, who may do everything, and the key that would
// sign the tokens of service accounts. It returns the user's token.
func kubernetesFiles(dir string) (token string, err error) {
	secret := make([]byte, 16)
	if _, err := rand.Read(secret); err != nil {
		return "", err
	}
	token = hex.EncodeToString(secret)
	users := token + `,operator,operator,"system:masters"` + "\n"
	if err := os.WriteFile(filepath.Join(dir, "tokens.csv"), []byte(users), 0o600); err != nil {
		return "", err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", err
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return "", err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})
	return token, os.WriteFile(filepath.Join(dir, "accounts.pem"), text, 0o600)
}

// startEtcd starts an etcd that keeps its data below dir, and returns its URL on loopback. It ends with the test.
func startEtcd(t testing.TB, part, dir string) string {
	t.Helper()
	var failures []error
	for range 5 { // as for the API's port
		address, err := freeAddress()
		if err != nil {
			t.Fatalf("find a free port for etcd: %v", err)
		}
		url := "http://" + address
		program, err := startProcess(exec.Command(filepath.Join(part, "etcd"),
			"--data-dir", filepath.Join(dir, "etcd"), "--unsafe-no-fsync",
			"--listen-client-urls", url, "--advertise-client-urls", url,
			"--listen-peer-urls", "http://127.0.0.1:0", // it has no peers
		), dir)
		if err != nil {
			t.Fatalf("start etcd: %v", err)
		}
		if err := awaitHealth(url+"/health", program.exited); err != nil {
			program.stop()
			failures = append(failures, fmt.Errorf("%w: %s", err, program.output))
			continue
		}
		t.Cleanup(program.stop)
		return url
	}
	t.Fatalf("start etcd: %v", failures)
	return ""
}

// process is a program that runs until it is stopped.
type process struct {
	output *lockedBuffer
	exited chan struct{}
	cmd    *exec.Cmd
}

// startProcess starts a program in a directory, with nothing of the caller's environment.
func startProcess(cmd *exec.Cmd, dir string) (*process, error) {
	p := &process{output: new(lockedBuffer), exited: make(chan struct{}), cmd: cmd}
	cmd.Dir = dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir}
	cmd.Stdout, cmd.Stderr = p.output, p.output
	dieWithParent(cmd)
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = cmd.Wait() // the reason is in output
		close(p.exited)
	}()
	return p, nil
}

// stop kills the program: its data is of no more use to anyone, and asked politely the API takes its time.
func (p *process) stop() {
	_ = p.cmd.Process.Kill() // fails only when it has exited already
	<-p.exited
}
