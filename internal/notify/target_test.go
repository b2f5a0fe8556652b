package notify_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/plumbline-dev/plumbline/internal/notify"
)

func open(t *testing.T, address string) *notify.Target {
	t.Helper()
	target, err := notify.Open("ops", address, notify.Rule{}, 0)
	if err != nil {
		t.Fatal(err)
	}
	return target
}

// TestWebhook sends to a real receiver.
func TestWebhook(t *testing.T) {
	got := make(chan map[string]string, 1)
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var body map[string]string
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			t.Error(err)
		}
		body["path"] = r.URL.Path
		got <- body
	}))
	defer receiver.Close()
	target := open(t, "generic+"+receiver.URL+"/hook/s3cr3t?template=json")
	if err := target.Send(t.Context(), "a title", "two\nlines"); err != nil {
		t.Fatal(err)
	}
	if body := <-got; body["title"] != "a title" || body["message"] != "two\nlines" || body["path"] != "/hook/s3cr3t" {
		t.Errorf("the receiver got %v", body)
	}
	if target.String() != "ops (generic)" || target.Service() != "generic" {
		t.Errorf("the target is %s, a %s", target, target.Service())
	}
}

// TestErrorsHideTheAddress: whoever knows the address of a webhook can write there.
func TestErrorsHideTheAddress(t *testing.T) {
	echo := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, "no such hook "+r.URL.String(), http.StatusNotFound)
	}))
	closed := httptest.NewServer(http.NotFoundHandler())
	closed.Close()
	defer echo.Close()
	secrets := []string{"t0ken-5f2e9c", "s3cr3tw0rd", "hunter2canary", "T0ABCDEF12", "5f2e9c"}
	for _, address := range []string{
		"generic+" + echo.URL + "/hook/t0ken-5f2e9c?x=hunter2canary",
		"generic+" + closed.URL + "/hook/t0ken-5f2e9c?x=hunter2canary",
		"generic://user:s3cr3tw0rd@" + strings.TrimPrefix(closed.URL, "http://") + "/t0ken-5f2e9c?disabletls=yes",
		"smtp://user:s3cr3tw0rd@" + strings.TrimPrefix(closed.URL, "http://") + "/?from=a@example.com&to=hunter2canary@example.com",
		"gotify://" + strings.TrimPrefix(closed.URL, "http://") + "/AhunterXt0ken-5f2?disabletls=yes",
	} {
		target, err := notify.Open("ops", address, notify.Rule{}, 0)
		if err == nil {
			err = target.Send(t.Context(), "title", "message")
		}
		if err == nil {
			t.Errorf("%s: there is no error", address)
			continue
		}
		for _, secret := range secrets {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("the error shows %q: %v", secret, err)
			}
		}
	}
	for _, address := range []string{
		"slack://T0ABCDEF12/t0ken-5f2e9c", "discord://t0ken-5f2e9c", "teams://t0ken-5f2e9c@s3cr3tw0rd", "telegram://t0ken-5f2e9c",
		"https://hooks.example/t0ken-5f2e9c", "t0ken-5f2e9c", "://t0ken-5f2e9c", "logger://", "nothing://t0ken-5f2e9c",
	} {
		_, err := notify.Open("ops", address, notify.Rule{}, 0)
		if err == nil {
			t.Errorf("%s is taken", address)
			continue
		}
		for _, secret := range secrets {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("the error shows %q: %v", secret, err)
			}
		}
	}
}

func TestServicesAreSetUp(t *testing.T) {
	for _, address := range []string{
		"slack://hook:AAAAAAAAA-BBBBBBBBB-123456789123456789123456@webhook", "discord://token@123456789",
		"smtp://user:secret@mail.example.com:587/?from=plumbline@example.com&to=ops@example.com", "ntfy://ntfy.example.com/topic",
		"mattermost://mattermost.example.com/token", "generic://example.com/hook",
	} {
		open(t, address)
	}
}

// TestOneAtATime: a receiver that hangs is not sent a second message while nobody knows about the first.
func TestOneAtATime(t *testing.T) {
	release, arrived := make(chan struct{}), make(chan struct{}, 5)
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.ReadAll(r.Body)
		arrived <- struct{}{}
		<-release
	}))
	defer receiver.Close()
	target := open(t, "generic+"+receiver.URL)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-arrived; cancel() }()
	if err := target.Send(ctx, "t", "first"); !errors.Is(err, context.Canceled) {
		t.Errorf("Send = %v, want that it was cancelled", err)
	}
	if err := target.Send(t.Context(), "t", "second"); err == nil || !strings.Contains(err.Error(), "still on its way") {
		t.Errorf("Send = %v, want that another is on its way", err)
	}
	close(release)
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		if err := target.Send(t.Context(), "t", "third"); err == nil {
			break
		} else if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// TestMail sends to a mail server that speaks as much SMTP as that takes.
func TestMail(t *testing.T) {
	server := startSMTP(t)
	target := open(t, "smtp://"+server.address+"/?from=plumbline@example.com&to=ops@example.com,dev@example.com&starttls=no")
	title, message := notify.Compose([]notify.Line{{Event: event(notify.Drifted, node), URL: "https://forge.example/issues/3"}})
	if err := target.Send(t.Context(), title+" ü", message+"\n.\nend"); err != nil {
		t.Fatal(err)
	}
	server.mu.Lock()
	defer server.mu.Unlock()
	if len(server.mails) != 2 {
		t.Fatalf("%d mails, want one for each of two people: %q", len(server.mails), server.mails)
	}
	for _, mail := range server.mails {
		for _, want := range []string{
			"MAIL FROM:<plumbline@example.com>", "Subject: =?utf-8?q?", "acme/live network/prod has drifted: toy_node.a (outside, node) https://forge.example/issues/3", "\r\n..\r\nend",
		} {
			if !strings.Contains(mail, want) {
				t.Errorf("there is no %q in\n%s", want, mail)
			}
		}
	}
}

type smtpServer struct {
	address string
	mu      sync.Mutex
	mails   []string
}

// startSMTP takes mails on loopback.
func startSMTP(t *testing.T) *smtpServer {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &smtpServer{address: listener.Addr().String()}
	var wg sync.WaitGroup
	t.Cleanup(func() { _ = listener.Close(); wg.Wait() })
	wg.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { s.serve(conn) })
		}
	})
	return s
}

func (s *smtpServer) serve(conn net.Conn) {
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	in := bufio.NewReader(conn)
	say := func(line string) { _, _ = io.WriteString(conn, line+"\r\n") }
	say("220 mail.example.com")
	var mail strings.Builder
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		mail.WriteString(line)
		switch verb := strings.ToUpper(strings.TrimSpace(line)); {
		case strings.HasPrefix(verb, "DATA"):
			say("354 go on")
			for {
				line, err := in.ReadString('\n')
				if err != nil {
					return
				}
				if line == ".\r\n" {
					break
				}
				mail.WriteString(line)
			}
			s.mu.Lock()
			s.mails = append(s.mails, mail.String())
			s.mu.Unlock()
			mail.Reset()
			mail.WriteString("MAIL FROM:<plumbline@example.com>\r\n")
			say("250 taken")
		case strings.HasPrefix(verb, "QUIT"):
			say("221 bye")
			return
		default:
			say("250 mail.example.com")
		}
	}
}
