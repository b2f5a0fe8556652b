package atlantis

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// workflow takes from a project's workflow what the project's entry can hold.
func (m *migration) workflow(e *entry) {
	name := e.project.Workflow
	if name.Line == 0 || name.Value == "" {
		return
	}
	w, ok := m.in.Workflows[name.Value]
	if !ok {
		if name.Value != "default" {
			m.noteAt(e, "dir", name.Line, "workflow", "%s is not defined in this file but on the server, in repos.yaml; what its steps add must be brought over by hand", quote(name.Value))
		}
		return
	}
	left := m.hasLeft(w)
	for _, s := range w.Plan.Steps {
		for _, a := range arguments(s) {
			if a.kind == argumentNone {
				continue
			}
			value, ok := m.expand(e, a.value)
			if !ok {
				m.noteAt(e, ourKey(a.kind), a.line, "workflow", "%s holds a variable of the environment that is known only when Atlantis runs", quote(a.shown))
				continue
			}
			from := text{Line: a.line, key: "workflow"}
			switch {
			case a.kind == argumentVarFile && m.accepts(e, "var_files", from, []string{value}):
				e.VarFiles = appendNew(e.VarFiles, value)
			case a.kind == argumentBackendConfig && m.accepts(e, "backend_config", from, []string{value}):
				e.BackendConfig = appendNew(e.BackendConfig, value)
			}
		}
	}
	if left {
		m.workflowLeft[name.Value] = true
		m.noteAt(e, "dir", name.Line, "workflow", "%s does more than stands here; see the end of this file", quote(name.Value))
	}
}

// workflows names, at the end of the file, what the steps of workflows do that has no equal.
func (m *migration) workflows() {
	type named struct {
		name string
		workflow
	}
	var all []named
	for name, w := range m.in.Workflows {
		all = append(all, named{name, w})
	}
	slices.SortFunc(all, func(a, b named) int { return cmp.Or(cmp.Compare(a.line, b.line), strings.Compare(a.name, b.name)) })
	for _, w := range all {
		if !m.workflowLeft[w.name] {
			continue
		}
		m.tail = append(m.tail, m.left("workflows."+oneLine(w.name), w.workflow)...)
	}
}

// hasLeft reports whether a workflow does something that has no equal.
func (m *migration) hasLeft(w workflow) bool {
	kept := m.notes
	defer func() { m.notes = kept }()
	return len(m.left("", w)) > 0
}

// left notes what a workflow does that has no equal.
func (m *migration) left(key string, w workflow) []comment {
	var comments []comment
	add := func(line int, stage, format string, args ...any) {
		comments = append(comments, m.note(line, key+"."+stage, format, args...))
	}
	for _, s := range w.Plan.Steps {
		m.leftOfStep(s, "plan", add)
	}
	for _, k := range sortedByLine(w.Rest) {
		name, node := k.name, w.Rest[k.name]
		switch name {
		case "apply":
			var st stage
			if err := node.Decode(&st); err != nil {
				add(node.Line, "apply", "not understood")
				continue
			}
			for _, s := range st.Steps {
				m.leftOfStep(s, "apply", add)
			}
		case "policy_check":
			add(node.Line, name, "no equal; run conftest as a check of its own")
		case "import":
			add(node.Line, name, "no equal; imports are import blocks, which are planned and reviewed like the rest")
		case "state_rm":
			add(node.Line, name, "no equal; use a removed block, which is planned and reviewed like the rest")
		default:
			add(node.Line, oneLine(name), "not a stage that this version of plumbline knows of Atlantis")
		}
	}
	return comments
}

func (m *migration) leftOfStep(s step, stage string, add func(line int, stage, format string, args ...any)) {
	detail := oneLine(s.Detail)
	switch s.Name {
	case "init", "plan", "apply":
		for _, a := range arguments(s) {
			if text := a.left(stage); text != "" {
				add(a.line, stage, "%s: %s", s.Name, text)
			}
		}
	case "show":
	case "run":
		add(s.Line, stage, "run: %s has no equal; no commands of the repository are run", orSomething(detail))
	case "env":
		add(s.Line, stage, "env: %s has no equal; set it where plumbline runs, and name it under env", orSomething(detail))
	case "multienv":
		add(s.Line, stage, "multienv: %s has no equal; set the variables where plumbline runs, and name them under env", orSomething(detail))
	case "policy_check":
		add(s.Line, stage, "policy_check has no equal; run conftest as a check of its own")
	default:
		add(s.Line, stage, "the step %s has no equal", quote(s.Name))
	}
}

func orSomething(detail string) string {
	if detail == "" {
		return "a command"
	}
	return detail
}

type argumentKind int

const (
	argumentNone argumentKind = iota // has no key of ours
	argumentVarFile
	argumentBackendConfig
)

func ourKey(k argumentKind) string {
	if k == argumentBackendConfig {
		return "backend_config"
	}
	return "var_files"
}

// argument is one flag of extra_args with its value.
type argument struct {
	step, flag, value string
	shown             string // the flag and as much of its value as may be shown
	kind              argumentKind
	line              int
}

// valueFlags take a value, in the same argument after = or in the next one.
var valueFlags = []string{"-var-file", "-backend-config", "-var", "-target", "-replace", "-exclude", "-parallelism", "-lock-timeout", "-plugin-dir", "-from-module", "-state", "-state-out", "-backup", "-generate-config-out"}

// arguments splits the extra_args of a step into flags.
func arguments(s step) []argument {
	var all []argument
	items := s.ExtraArgs.Items
	for i := 0; i < len(items); i++ {
		word := strings.TrimSpace(items[i].Value)
		if strings.HasPrefix(word, "--") {
			word = word[1:]
		}
		a := argument{step: s.Name, line: items[i].Line}
		flag, value, given := strings.Cut(word, "=")
		if f, v, ok := strings.Cut(flag, " "); ok && strings.HasPrefix(f, "-") {
			// Once a shell split it: "-var-file prod.tfvars" as one item. What is after the blank may hold the first =.
			flag, value, given = f, strings.TrimSpace(v+word[len(flag):]), true
		}
		a.flag, a.value = flag, value
		if !given && i+1 < len(items) {
			next := strings.TrimSpace(items[i+1].Value)
			if slices.Contains(valueFlags, flag) || next == "true" || next == "false" {
				a.value = next
				i++
			}
		}
		a.value = strings.Trim(a.value, `"'`)
		a.shown = oneLine(a.flag)
		switch {
		case s.Name == "plan" && flag == "-var-file":
			a.kind, a.shown = argumentVarFile, oneLine(flag+"="+a.value)
		case s.Name == "init" && flag == "-backend-config":
			a.kind = argumentBackendConfig
			key, _, pair := strings.Cut(a.value, "=")
			a.shown = oneLine(flag + "=" + key)
			if pair {
				a.shown += "=…"
			}
		case flag == "-target" || flag == "-replace" || flag == "-parallelism" || flag == "-lock-timeout":
			a.shown = oneLine(flag + "=" + a.value)
		case flag == "-var":
			key, _, _ := strings.Cut(a.value, "=")
			a.shown = oneLine(flag + " " + key)
		}
		all = append(all, a)
	}
	return all
}

// left says why an argument has no equal, "" if it has one or needs none.
func (a argument) left(stage string) string {
	if a.kind != argumentNone && stage == "plan" {
		return ""
	}
	switch a.flag {
	case "-input", "-no-color", "-compact-warnings", "":
		return "" // always so, or only about how the output looks
	case "-lock":
		if a.step == "plan" {
			return "" // plans never take the lock
		}
		return fmt.Sprintf("%s has no equal; an apply always takes the lock of the state", a.shown)
	case "-var-file":
		if a.step == "apply" {
			return "" // a saved plan has its variables in it
		}
	case "-var":
		return fmt.Sprintf("%s has no equal; put it in a file and name that under var_files", a.shown)
	case "-target", "-replace", "-exclude":
		return fmt.Sprintf("%s has no equal; a workspace is planned as a whole", a.shown)
	case "-upgrade":
		return fmt.Sprintf("%s has no equal; versions come from the lock file", a.shown)
	case "-reconfigure":
		return "" // backend settings that changed are taken over by a new init
	}
	return fmt.Sprintf("%s has no equal", a.shown)
}

// variable is how Atlantis' own variables stand in extra_args.
var variable = regexp.MustCompile(`\$\{?([A-Za-z_][A-Za-z0-9_]*)\}?`)

// expand replaces the variables whose value is known without running anything. It reports false if others remain.
func (m *migration) expand(e *entry, value string) (string, bool) {
	value = strings.TrimPrefix(strings.TrimPrefix(value, "$DIR/"), "${DIR}/") // the project's own directory
	known := true
	expanded := variable.ReplaceAllStringFunc(value, func(found string) string {
		switch variable.FindStringSubmatch(found)[1] {
		case "WORKSPACE":
			return orDefault(e.Workspace)
		case "PROJECT_NAME":
			return e.project.Name.Value
		case "REPO_REL_DIR":
			return e.Dir
		}
		known = false
		return found
	})
	return expanded, known && !strings.ContainsAny(expanded, "$`")
}

func appendNew(list []string, value string) []string {
	if slices.Contains(list, value) {
		return list
	}
	return append(list, value)
}
