package engine

import (
	"testing"

	"github.com/plumbline-dev/plumbline/drift"
)

func TestGroupOf(t *testing.T) {
	same := func(a, b string) bool {
		x, ok1 := groupOf(drift.CauseUpgrade, a, a+" update acl,tags.x")
		y, ok2 := groupOf(drift.CauseUpgrade, b, b+" update acl,tags.x")
		return ok1 && ok2 && x == y
	}
	if !same("toy_bucket.a", `module.m["a.b"].module.n.toy_bucket.b[3]`) {
		t.Error("two of the same type are not in one group")
	}
	if same("toy_bucket.a", "toy_node.a") || same("toy_bucket.a", "data.toy_bucket.a") {
		t.Error("two of different types are in one group")
	}
	if _, ok := groupOf(drift.CauseOutside, "toy_bucket.a", "toy_bucket.a update acl"); ok {
		t.Error("what was changed outside is in a group")
	}
	one, _ := groupOf(drift.CauseUpgrade, "toy_bucket.a", "toy_bucket.a update acl")
	two, _ := groupOf(drift.CauseData, "toy_bucket.a", "toy_bucket.a update acl")
	three, _ := groupOf(drift.CauseUpgrade, "toy_bucket.a", "toy_bucket.a replace acl")
	if one == two || one == three {
		t.Error("another cause or action makes no difference")
	}
}

func TestOwnersOf(t *testing.T) {
	const file = `
# comment
* @everybody
network/ @net @acme/netops # trailing
/network/prod/* @prod
docs/ @docs
*.md @writers
/empty/
apps/**/db @dba ops@example.com
`
	for _, c := range []struct{ file, want string }{
		{"main.tf", "@everybody"}, {"network/main.tf", "@net"}, {"network/prod/main.tf", "@prod"}, {"network/prod/sub/main.tf", "@net"},
		{"a/network/main.tf", "@net"}, {"networks/main.tf", "@everybody"}, {"empty/main.tf", ""}, {"apps/x/y/db/main.tf", "@dba"}, {"apps/db/main.tf", "@dba"},
	} {
		got := ""
		if owners := ownersOf(file, c.file); len(owners) > 0 {
			got = owners[0]
		}
		if got != c.want {
			t.Errorf("the owner of %s is %q, want %q", c.file, got, c.want)
		}
	}
	const gitea = "network/.* @net\n!network/prod/.* @others\n"
	if got := ownersOf(gitea, "network/prod/main.tf"); len(got) != 1 || got[0] != "@net" {
		t.Errorf("with regular expressions: %v", got)
	}
}

func TestWildcard(t *testing.T) {
	for _, c := range []struct {
		pattern, address string
		want             bool
	}{
		{"toy_node.a", "toy_node.a", true}, {"toy_node.*", "toy_node.a[0]", true}, {"*", "", true}, {"toy_?ode.a", "toy_node.a", true},
		{"toy_node.a", "toy_node.ab", false}, {"*.b", "toy_node.a", false}, {`toy["*"]`, `toy["x.y"]`, true},
	} {
		if wildcard(c.pattern, c.address) != c.want {
			t.Errorf("%q matches %q: %v", c.pattern, c.address, !c.want)
		}
	}
}
