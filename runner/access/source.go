package access

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/plumbline-dev/plumbline/workspaces"
)

// maxValue is how long a value may be: a kubeconfig with certificates, and not a database.
const maxValue = 64 << 10

// read gets the value of a source that the operator allows. No error holds a value, nor what a command printed.
func (b *Broker) read(ctx context.Context, repository string, s workspaces.Source) (string, error) {
	if s.Text != "" {
		return s.Text, nil
	}
	if err := b.allowsSource(repository, s); err != nil {
		return "", err
	}
	var value string
	var err error
	switch {
	case s.File != "":
		value, err = readFile(s.File)
	case s.Env != "":
		value, err = b.variable(s.Env)
	default:
		value, err = b.run(ctx, s.Command)
	}
	if err != nil {
		return "", err
	}
	value = strings.TrimRight(value, "\r\n")
	switch {
	case value == "":
		return "", fmt.Errorf("the value %s is empty", s)
	case strings.ContainsRune(value, 0):
		return "", fmt.Errorf("the value %s holds a zero byte", s)
	}
	return value, nil
}

func readFile(name string) (string, error) {
	info, err := os.Stat(name) // a pipe would be waited for
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("it is not a regular file")
	}
	if err == nil && info.Size() > maxValue {
		err = fmt.Errorf("it has more than %d bytes", maxValue)
	}
	var data []byte
	if err == nil {
		data, err = os.ReadFile(name)
	}
	if err != nil {
		return "", fmt.Errorf("read the value from %s: %w", name, pathless(err))
	}
	return string(data), nil
}

// pathless is an error without the path that it begins with.
func pathless(err error) error {
	var of *os.PathError
	if errors.As(err, &of) {
		return of.Err
	}
	return err
}

func (b *Broker) variable(name string) (string, error) {
	value, known := "", false
	for _, kv := range b.opts.Environ {
		if n, v, _ := strings.Cut(kv, "="); n == name {
			value, known = v, true
		}
	}
	if !known {
		return "", fmt.Errorf("the environment variable %s is not set: set it where plumbline runs", name)
	}
	return value, nil
}

// run runs a command and returns what it prints. It runs in the root directory, so that nothing of a repository is looked up
// there, without Plumbline's own settings.
func (b *Broker) run(ctx context.Context, argv []string) (string, error) {
	failed := func(format string, args ...any) (string, error) {
		return "", fmt.Errorf("run %s for the value: %s (what it printed is not shown, because it may hold secrets: run it by hand)", argv[0], fmt.Sprintf(format, args...))
	}
	notRun := func(err error) (string, error) {
		return "", fmt.Errorf("run %s for the value: %w", argv[0], pathless(err))
	}
	program, err := b.program(argv[0])
	if err != nil {
		return notRun(err)
	}
	patience := 2 * b.opts.Patience
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, argv[1:]...)
	out := &bounded{}
	cmd.Dir, cmd.Stdout, cmd.Stderr, cmd.WaitDelay = "/", out, io.Discard, 2*time.Second
	cmd.Env = []string{}
	for _, kv := range b.opts.Environ {
		if !strings.HasPrefix(kv, "PLUMBLINE_") {
			cmd.Env = append(cmd.Env, kv)
		}
	}
	inGroup(cmd)
	err = cmd.Run()
	if err != nil && cmd.Process != nil {
		endGroup(cmd) // also of what has let go of the pipe, or holds it for longer than is waited
	}
	var exit *exec.ExitError
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return failed("it did not end within %s", patience)
	case ctx.Err() != nil:
		return "", context.Cause(ctx)
	case out.full:
		return failed("it printed more than %d bytes", maxValue)
	case errors.As(err, &exit):
		return failed("it ended with %s", exit.ProcessState)
	case err != nil:
		return notRun(err)
	}
	return out.kept.String(), nil
}

// program finds a program on the PATH of Plumbline's own environment.
func (b *Broker) program(name string) (string, error) {
	if filepath.IsAbs(name) {
		return name, nil
	}
	if strings.Contains(name, "/") {
		return "", errors.New("its path is not absolute")
	}
	path, err := b.variable("PATH")
	if err != nil {
		return "", err
	}
	for _, dir := range filepath.SplitList(path) {
		file := filepath.Join(dir, name)
		if info, err := os.Stat(file); filepath.IsAbs(dir) && err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o111 != 0 {
			return file, nil
		}
	}
	return "", errors.New("it is not on PATH")
}

// bounded keeps what is written, up to the length of a value.
type bounded struct {
	kept bytes.Buffer
	full bool
}

func (w *bounded) Write(p []byte) (int, error) {
	if w.kept.Len()+len(p) > maxValue {
		w.full = true
		return 0, errors.New("too much")
	}
	return w.kept.Write(p)
}

// jsonText is a value as it stands within a text of JSON.
func jsonText(value string) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(true) // as Terraform writes it
	_ = enc.Encode(value)   // text always encodes
	return strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(b.String()), `"`), `"`)
}
