package parts

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// S3Server is a running S3 server with one empty bucket, for one test.
type S3Server struct {
	Endpoint  string // URL on loopback; only path-style addresses work
	Region    string
	AccessKey string
	SecretKey string
	Bucket    string
	// Root is the directory behind the bucket: its files are the objects, for tests that damage them.
	Root string
}

// S3 starts versitygw v1.8.0 on a free loopback port, over a temporary directory, and stops it when the test ends.
func S3(t testing.TB) *S3Server {
	t.Helper()
	program := filepath.Join(need(t, "s3"), "versitygw")
	server := &S3Server{
		Region:    "us-east-1",
		AccessKey: "plumbline-test",
		SecretKey: "plumbline-test-secret",
		Bucket:    "plans",
	}
	data, metadata := t.TempDir(), t.TempDir()
	server.Root = filepath.Join(data, server.Bucket)
	if err := os.Mkdir(server.Root, 0o755); err != nil {
		t.Fatalf("make the S3 server's bucket: %v", err)
	}
	// The server takes a port, not a listener, so a chosen port can be lost to another process before it listens.
	var failures []error
	for range 5 {
		address, err := freeAddress()
		if err != nil {
			t.Fatalf("find a free port for the S3 server: %v", err)
		}
		// Metadata beside the data: not every file system of a test machine has extended attributes.
		cmd := exec.Command(program, "--port", address, "--health", "/health", "--quiet", "--region", server.Region,
			"posix", "--sidecar", metadata, data)
		cmd.Env = []string{
			"HOME=" + t.TempDir(),
			"ROOT_ACCESS_KEY_ID=" + server.AccessKey,
			"ROOT_SECRET_ACCESS_KEY=" + server.SecretKey,
		}
		var output bytes.Buffer
		cmd.Stdout, cmd.Stderr = &output, &output
		dieWithParent(cmd)
		if err := cmd.Start(); err != nil {
			t.Fatalf("start the S3 server: %v", err)
		}
		exited := make(chan struct{})
		go func() {
			_ = cmd.Wait() // the reason is in output
			close(exited)
		}()
		stop := func() {
			_ = cmd.Process.Kill() // fails only when it has exited already
			<-exited
		}
		server.Endpoint = "http://" + address
		if err := awaitHealth(server.Endpoint+"/health", exited); err != nil {
			stop()
			failures = append(failures, fmt.Errorf("%w: %s", err, output.String()))
			continue
		}
		t.Cleanup(stop)
		return server
	}
	t.Fatalf("start the S3 server: %v", failures)
	return nil
}

func freeAddress() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	address := listener.Addr().String()
	return address, listener.Close()
}

// awaitHealth returns once the server answers. A minute is far more than it needs, even on a loaded machine.
func awaitHealth(url string, exited <-chan struct{}) error {
	client := &http.Client{Timeout: 5 * time.Second}
	defer client.CloseIdleConnections()
	deadline := time.After(time.Minute)
	for {
		response, err := client.Get(url)
		if err == nil {
			response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-exited:
			return fmt.Errorf("the server ended before it answered")
		case <-deadline:
			return fmt.Errorf("the server did not answer within a minute")
		case <-time.After(20 * time.Millisecond):
		}
	}
}
