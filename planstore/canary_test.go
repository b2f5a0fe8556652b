package planstore_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/plumbline-dev/plumbline/internal/parts"
	"github.com/plumbline-dev/plumbline/planstore"
)

// A secret in a real plan reaches neither the bucket nor an error nor anything that prints an exported type; the key
// reaches none of them either.
func TestSecretsStayInside(t *testing.T) {
	t.Parallel()
	r := newRoot(t, parts.Terraform(t), parts.MirrorConfig(t, parts.Mirror(t)))
	r.plan(`{"size": 3, "password": "canary-password", "names": ["canary-name"]}`)
	file, text := read(t, filepath.Join(r.dir, "saved")), r.run("show", "-json", "saved")
	if !bytes.Contains(text, []byte("canary-password")) {
		t.Fatal("the plan holds no secret, so nothing can be shown with it")
	}

	dir := t.TempDir()
	options := planstore.Options{Location: dir, Key: key1, Repository: "repo"}
	s := open(t, options)
	var said []string
	say := func(v any) {
		said = append(said, fmt.Sprint(v), fmt.Sprintf("%v %+v %#v %s %q %x", v, v, v, v, v, v))
		if encoded, err := json.Marshal(v); err == nil {
			said = append(said, string(encoded))
		}
		var log bytes.Buffer
		slog.New(slog.NewTextHandler(&log, nil)).Info("x", "v", v)
		slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "v", v)
		said = append(said, log.String())
	}
	p, err := s.Put(t.Context(), planstore.Plan{Workspace: "a"}, bytes.NewReader(file), bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	place, err := s.KeepState(t.Context(), "a", bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	decoded := plan(t, string(text))
	say(fingerprint(t, s, decoded))
	say(planstore.Count(decoded))
	say(p)
	say(options)
	say(&options)
	say(s)
	say(struct{ Options planstore.Options }{options})
	states, err := s.States(t.Context())
	say(errors.Join(err))
	say(states)

	for _, path := range objects(t, dir) {
		if strings.Contains(path, "canary") {
			t.Errorf("a secret is in the name %s", path)
		}
		whole := read(t, path)
		for i := 0; i < len(whole); i += 7 {
			broken := bytes.Clone(whole)
			broken[i] ^= 0x21
			write(t, path, broken)
			_, err := s.JSON(t.Context(), p.ID)
			say(err)
			_, err = s.State(t.Context(), place)
			say(err)
			say(s.Verify(t.Context(), p.ID))
		}
		write(t, path, whole)
		for _, secret := range secrets() {
			if bytes.Contains(whole, []byte(secret)) {
				t.Errorf("%s holds %q in clear", path, secret)
			}
		}
	}
	say(s.WritePlanFile(t.Context(), p.ID, filepath.Join(dir, "no", "such", "directory")))
	for _, line := range said {
		for _, secret := range secrets() {
			if strings.Contains(line, secret) {
				t.Errorf("%q is in %s", secret, line)
			}
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "no")); err == nil {
		t.Error("the plan was written where nobody made a directory")
	}
}

// secrets are what must not show: the plan's values, and the key in the forms in which it could be printed.
func secrets() []string {
	return []string{
		"canary-password", "canary-name", fmt.Sprintf("%x", "canary-password"),
		key1, key1[:12], "0123456789abcdef0123456789abcdef", fmt.Sprintf("%x", "0123456789abcdef"),
		"48 49 50 51 52 53 54 55 56 57", // how fmt prints its bytes
	}
}
