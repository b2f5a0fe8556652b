// Package atlantis turns a repository's atlantis.yaml into a plumbline.yaml that means the same, for those who come from
// Atlantis.
//
// The life of a migration: [Migrate] reads the file (versions 2 and 3 of its format) with the line of every value, makes an
// entry of every project, puts what has an equal under our keys, orders execution groups as dependencies without ever
// making a cycle, and writes YAML by hand so that comments stand where a reader looks for them. What has no equal becomes a
// comment that names the line of atlantis.yaml, and a [Note]. A value that plumbline.yaml would refuse becomes such a
// comment too: the result always passes [workspaces.ParseConfig].
//
// The package reads no server-side configuration (repos.yaml), runs nothing and guesses nothing: a workflow's shell
// commands are named, not translated. Sources for what Atlantis does are its documentation of repo-level configuration,
// https://www.runatlantis.io/docs/repo-level-atlantis-yaml, and of workflows,
// https://www.runatlantis.io/docs/custom-workflows.
package atlantis

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/plumbline-dev/plumbline/workspaces"
)

// Options say what a migration knows besides the file itself.
type Options struct {
	// File is the name of the file, for comments and errors. Default: atlantis.yaml.
	File string
	// FS is the repository. With it, patterns in a project's dir are expanded, and the variable files that Atlantis takes
	// by itself (env/WORKSPACE.tfvars) are found. Without it, nil, both are only named.
	FS fs.FS
}

// Note is one thing in atlantis.yaml that has no equal, or whose equal differs in a way that matters.
type Note struct {
	// Line of atlantis.yaml, from 1; 0 for the file as a whole.
	Line int `json:"line"`
	// Key is where it stands, such as "automerge" or "projects[2].branch".
	Key string `json:"key"`
	// Text says what differs and what to do, in lower case and without a final stop.
	Text string `json:"text"`
}

// Migrate returns a plumbline.yaml with the meaning of the atlantis.yaml in data, and what has no equal; the same notes
// stand in it as comments. The same input gives the same bytes.
//
// It is an error, which names the line, if Atlantis would refuse the file itself: YAML that is broken, a version other
// than 2 and 3, a value of a wrong type, a dir that is missing or holds "..".
func Migrate(data []byte, opts Options) (yaml []byte, notes []Note, err error) {
	if opts.File == "" {
		opts.File = "atlantis.yaml"
	}
	in, err := read(opts.File, data)
	if err != nil {
		return nil, nil, err
	}
	m := &migration{opts: opts, in: in, workflowLeft: map[string]bool{}}
	m.top()
	for i := range in.Projects {
		if err := m.project(i, &in.Projects[i]); err != nil {
			return nil, nil, err
		}
	}
	m.name()
	m.order()
	m.workflows()
	out := m.write()
	if _, problems := workspaces.ParseConfig("plumbline.yaml", out); len(problems) > 0 {
		return nil, nil, fmt.Errorf("migrate %s: the result is not valid, which is a mistake of this program: %w", opts.File, problems[0])
	}
	return out, m.notes, nil
}

// migration is one run of Migrate.
type migration struct {
	opts  Options
	in    *file
	notes []Note

	head     []comment // before the first key
	entries  []*entry
	tail     []comment // after the last
	discover bool
	ignore   []string

	// workflowLeft holds the workflows that do something which has no equal.
	workflowLeft map[string]bool
}

// entry is one workspace to be written.
type entry struct {
	workspaces.Entry
	project  *project
	at       string // key of the project, for notes: projects[2]
	group    int
	comments map[string][]comment // by the key that they stand at
	leftOut  *comment             // why it is written as a comment; nil if it is not
}

// comment is a line of the result, and the line of atlantis.yaml that it is about.
type comment struct {
	line int
	text string
}

// note records what has no equal and returns its comment.
func (m *migration) note(line int, key, format string, args ...any) comment {
	text := fmt.Sprintf(format, args...)
	m.notes = append(m.notes, Note{Line: line, Key: key, Text: text})
	short := key[strings.LastIndexByte(key, ']')+1:]
	short = strings.TrimPrefix(short, ".")
	if short != "" {
		short += ": "
	}
	return comment{line, fmt.Sprintf("# %s:%d: %s%s", oneLine(m.opts.File), line, short, text)}
}

func (m *migration) noteTop(line int, key, format string, args ...any) {
	m.head = append(m.head, m.note(line, key, format, args...))
}

// noteAt records what has no equal at the place of one of our keys in an entry.
func (m *migration) noteAt(e *entry, ours string, line int, key, format string, args ...any) {
	e.comments[ours] = append(e.comments[ours], m.note(line, e.at+"."+key, format, args...))
}

// leave writes the entry as a comment, with the reason before it.
func (e *entry) leave(why comment) { e.leftOut = &why }

// top translates the keys of the whole file.
func (m *migration) top() {
	in := m.in
	if in.Automerge.Value {
		m.noteTop(in.Automerge.Line, "automerge", "write `merge: merge` (or squash, rebase), and a server merges what `plumbline apply` has applied")
	}
	if in.DeleteSourceBranch.Value {
		m.noteTop(in.DeleteSourceBranch.Line, "delete_source_branch_on_merge", "the forge has a setting for it")
	}
	for _, p := range []struct {
		key   string
		value truth
	}{{"parallel_plan", in.ParallelPlan}, {"parallel_apply", in.ParallelApply}} {
		if p.value.Line > 0 && !p.value.Value {
			m.noteTop(p.value.Line, p.key, "workspaces run in parallel as far as their order allows; --parallel 1 runs one at a time")
		}
	}
	if in.AbortOnOrderFail.Line > 0 && !in.AbortOnOrderFail.Value {
		m.noteTop(in.AbortOnOrderFail.Line, "abort_on_execution_order_fail", "when a workspace fails, those that depend on it are always held")
	}
	if in.RepoLocks.Line > 0 {
		m.noteTop(in.RepoLocks.Line, "repo_locks", "no pull request holds a lock; a plan that another apply made stale is planned again")
	}
	if in.SilenceComments.Line > 0 {
		m.noteTop(in.SilenceComments.Line, "silence_pr_comments", "no equal; there is one plan comment for each pull request, edited in place")
	}
	if in.EmojiReaction.Line > 0 {
		m.noteTop(in.EmojiReaction.Line, "emoji_reaction", "no equal")
	}
	if in.RegexpPrefixes.Line > 0 {
		m.noteTop(in.RegexpPrefixes.Line, "allowed_regexp_prefixes", "no equal; commands name workspaces, and take no expressions")
	}
	if in.Policies.Kind != 0 {
		m.noteTop(in.Policies.Line, "policies", "no equal; run conftest as a check of its own")
	}
	for _, key := range sortedByLine(in.Rest) {
		m.noteTop(key.line, oneLine(key.name), "not a key that this version of plumbline knows of Atlantis")
	}
	m.autodiscover()
}

// autodiscover translates whether directories that are not named are found: in Atlantis' mode auto, the default, only when
// there are no projects.
func (m *migration) autodiscover() {
	auto := m.in.Autodiscover
	switch auto.Mode.Value {
	case "enabled":
		m.discover = true
	case "disabled":
		m.discover = false
	default:
		m.discover = len(m.in.Projects) == 0
		if auto.Mode.Value != "auto" && auto.Mode.Value != "" {
			m.noteTop(auto.Mode.Line, "autodiscover.mode", "%s is not a mode of Atlantis; taken as auto", quote(auto.Mode.Value))
		}
	}
	for _, p := range auto.IgnorePaths.Items {
		pattern := path.Clean(strings.TrimSpace(p.Value))
		if reason := refusal(map[string]any{"ignore": []string{pattern}}); reason != "" {
			m.noteTop(p.Line, "autodiscover.ignore_paths", "left out: %s", reason)
			continue
		}
		if !m.discover {
			m.noteTop(p.Line, "autodiscover.ignore_paths", "%s is not needed: only the workspaces named here are run", quote(pattern))
			continue
		}
		if !slices.Contains(m.ignore, pattern) {
			m.ignore = append(m.ignore, pattern)
		}
	}
	for _, key := range sortedByLine(auto.Rest) {
		m.noteTop(key.line, "autodiscover."+oneLine(key.name), "not a key that this version of plumbline knows of Atlantis")
	}
}

// project makes an entry of a project, or one of each directory that its pattern matches.
func (m *migration) project(i int, p *project) error {
	at := fmt.Sprintf("projects[%d]", i)
	dir := p.Dir.Value
	switch {
	case dir == "":
		return fmt.Errorf("%s:%d: project %d has no dir (name its directory)", m.opts.File, p.line, i+1)
	case strings.Contains(dir, ".."):
		return fmt.Errorf("%s:%d: dir %s holds .. (Atlantis refuses it as well; give the path from the repository's root)", m.opts.File, p.Dir.Line, quote(dir))
	}
	dir = path.Clean("./" + dir)
	dirs := []string{dir}
	if strings.ContainsAny(dir, "*?[") {
		dirs = m.glob(dir)
		if len(dirs) == 0 {
			e := &entry{Entry: workspaces.Entry{Dir: dir}, project: p, at: at, comments: map[string][]comment{}}
			e.leave(m.note(p.Dir.Line, at+".dir", "%s is a pattern that matches no directory here; a workspace names one directory, so write one for each", quote(dir)))
			m.entries = append(m.entries, e)
			return nil
		}
		m.noteTop(p.Dir.Line, at+".dir", "%s is a pattern; its %d directories of today are written out, and new ones need an entry", quote(dir), len(dirs))
	}
	for _, dir := range dirs {
		m.entries = append(m.entries, m.entry(p, at, dir))
	}
	return nil
}

// glob returns the directories with Terraform files that a pattern matches, in their order; none without a repository.
func (m *migration) glob(pattern string) []string {
	if m.opts.FS == nil || !doublestar.ValidatePattern(pattern) {
		return nil
	}
	matches, err := doublestar.Glob(m.opts.FS, pattern, doublestar.WithNoFollow())
	if err != nil {
		return nil // what cannot be read matches nothing, and that is said
	}
	slices.Sort(matches)
	return slices.DeleteFunc(matches, func(dir string) bool {
		files, err := fs.ReadDir(m.opts.FS, dir)
		return err != nil || !slices.ContainsFunc(files, func(f fs.DirEntry) bool {
			for _, suffix := range []string{".tf", ".tf.json", ".tofu", ".tofu.json"} {
				if !f.IsDir() && strings.HasSuffix(f.Name(), suffix) {
					return true
				}
			}
			return f.Name() == "terragrunt.hcl"
		})
	})
}

// entry translates a project's own keys.
func (m *migration) entry(p *project, at, dir string) *entry {
	e := &entry{
		Entry:   workspaces.Entry{Dir: dir, Name: p.Name.Value},
		project: p, at: at, group: p.Group.Value, comments: map[string][]comment{},
	}
	if reason := refusal(map[string]any{"workspaces": []any{map[string]any{"dir": dir}}}); reason != "" {
		e.leave(m.note(p.Dir.Line, at+".dir", "left out: %s", reason))
		return e
	}
	if e.Name != "" && !m.accepts(e, "name", p.Name, e.Name) {
		e.Name = ""
	}
	if w := p.Workspace.Value; w != "" && w != "default" && m.accepts(e, "workspace", p.Workspace, w) {
		e.Workspace = w
	} else if w != "" && w != "default" {
		e.leave(m.note(p.Workspace.Line, at+".workspace", "left out, because another Terraform workspace is another state"))
	}
	if p.Branch.Line > 0 {
		m.noteAt(e, "dir", p.Branch.Line, "branch", "no equal; the workspace is planned for pull requests into any branch")
	}
	switch d := p.Distribution; d.Value {
	case "opentofu":
		e.Engine = "tofu"
	case "", "terraform":
	default:
		m.noteAt(e, "engine", d.Line, "terraform_distribution", "%s is not one that Atlantis knows; terraform is used", quote(d.Value))
	}
	if v := strings.TrimPrefix(p.TerraformVersion.Value, "v"); v != "" && m.accepts(e, "terraform", p.TerraformVersion, v) {
		e.Terraform = v
	}
	m.requirements(e)
	m.workflow(e)
	m.automaticVarFile(e)
	m.whenModified(e)
	if p.Autoplan.Enabled.Line > 0 && !p.Autoplan.Enabled.Value {
		m.noteAt(e, "watch", p.Autoplan.Enabled.Line, "autoplan.enabled", "no equal; the workspace is planned whenever its files change. With enabled: false it is never planned")
	}
	m.otherKeys(e)
	return e
}

// otherKeys names the keys of a project that have no equal.
func (m *migration) otherKeys(e *entry) {
	p := e.project
	if p.DeleteSourceBranch.Value {
		m.noteAt(e, "dir", p.DeleteSourceBranch.Line, "delete_source_branch_on_merge", "the forge has a setting for it")
	}
	if p.RepoLocking.Line > 0 {
		m.noteAt(e, "dir", p.RepoLocking.Line, "repo_locking", "no pull request holds a lock")
	}
	if p.RepoLocks.Line > 0 {
		m.noteAt(e, "dir", p.RepoLocks.Line, "repo_locks", "no pull request holds a lock")
	}
	if p.CustomPolicyCheck.Value {
		m.noteAt(e, "dir", p.CustomPolicyCheck.Line, "custom_policy_check", "no equal; run the check as one of its own")
	}
	if p.PolicyCheck.Value {
		m.noteAt(e, "dir", p.PolicyCheck.Line, "policy_check", "no equal; run conftest as a check of its own")
	}
	if p.SilenceComments.Line > 0 {
		m.noteAt(e, "dir", p.SilenceComments.Line, "silence_pr_comments", "no equal")
	}
	for _, key := range sortedByLine(p.Rest) {
		m.noteAt(e, "dir", key.line, oneLine(key.name), "not a key that this version of plumbline knows of Atlantis")
	}
	for _, key := range sortedByLine(p.Autoplan.Rest) {
		m.noteAt(e, "dir", key.line, "autoplan."+oneLine(key.name), "not a key that this version of plumbline knows of Atlantis")
	}
}

// requirements translates what must hold before a command.
func (m *migration) requirements(e *entry) {
	p := e.project
	for _, r := range p.ApplyRequirements.Items {
		switch r.Value {
		case "approved":
			one := 1
			e.Approvals = &one
		case "mergeable":
			m.noteAt(e, "approvals", r.Line, "apply_requirements", "mergeable has no equal; apply: on-merge leaves it to the forge's rules for merging")
		case "undiverged":
			m.noteAt(e, "approvals", r.Line, "apply_requirements", "undiverged is always so: a plan is applied only while its files and its state are those that were planned")
		default:
			m.noteAt(e, "approvals", r.Line, "apply_requirements", "%s is not a requirement of Atlantis", quote(r.Value))
		}
	}
	if reqs := p.PlanRequirements; len(reqs.Items) > 0 {
		m.noteAt(e, "approvals", reqs.Line, "plan_requirements", "no equal; plans need nobody's leave (%s)", words(reqs))
	}
	if reqs := p.ImportRequirements; len(reqs.Items) > 0 {
		m.noteAt(e, "approvals", reqs.Line, "import_requirements", "no equal; imports are import blocks, which are planned and reviewed like the rest (%s)", words(reqs))
	}
}

// automaticVarFile adds the variable file that Atlantis takes without being told.
func (m *migration) automaticVarFile(e *entry) {
	name := "env/" + orDefault(e.Workspace) + ".tfvars"
	if m.opts.FS == nil || slices.Contains(e.VarFiles, name) {
		return
	}
	if info, err := fs.Stat(m.opts.FS, path.Join(e.Dir, name)); err == nil && !info.IsDir() {
		e.VarFiles = append(e.VarFiles, name)
	}
}

// accepts reports whether plumbline.yaml takes a value for a key of an entry; if not, that is noted.
func (m *migration) accepts(e *entry, ours string, from text, value any) bool {
	reason := refusal(map[string]any{"workspaces": []any{map[string]any{"dir": e.Dir, ours: value}}})
	if reason != "" {
		m.noteAt(e, ours, from.Line, from.key, "left out: %s", reason)
	}
	return reason == ""
}

// refusal returns why plumbline.yaml does not take a document, "" if it does. Asking the parser itself keeps its rules in
// one place.
func refusal(document map[string]any) string {
	data, err := json.Marshal(document)
	if err != nil {
		return err.Error()
	}
	_, problems := workspaces.ParseConfig("plumbline.yaml", data)
	if len(problems) == 0 {
		return ""
	}
	return problems[0].Text
}

func orDefault(workspace string) string {
	if workspace == "" {
		return "default"
	}
	return workspace
}
