// Package demo is a small Terraform repository on a toy cloud, to show and to test Plumbline with.
//
// [Base] is the repository as it begins: the workspaces network, cluster and storage, a module that the last two share,
// and a plumbline.yaml. [Change] is what a branch does to it: one more node, and a label that comes from the module, so
// that two workspaces are touched. [Write] puts either into a directory. [Meddle] is what somebody does behind Git's
// back afterwards. Making commits, plans and applies of it all is the caller's part.
//
// Terraform finds the cloud through the environment variables TOY_ENDPOINT and TOY_TOKEN. The workspaces plan in any
// order, on an empty cloud, too; to apply the cluster the network must be there.
package demo

import (
	"embed"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/plumbline-dev/plumbline/internal/toycloud"
)

//go:embed all:base all:change
var files embed.FS

// Base returns the files of the repository as it begins.
func Base() fs.FS { return part("base") }

// Change returns the files that the branch adds or replaces, whole.
func Change() fs.FS { return part("change") }

func part(name string) fs.FS {
	sub, err := fs.Sub(files, name)
	if err != nil {
		return files // fs.Sub refuses only names that are no paths
	}
	return sub
}

// Write puts files below dir and replaces those that are there already. What else is there stays.
func Write(dir string, files fs.FS) error {
	return fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		target := filepath.Join(dir, filepath.FromSlash(name))
		if err == nil && d.IsDir() {
			err = os.MkdirAll(target, 0o755)
		} else if err == nil {
			var data []byte
			if data, err = fs.ReadFile(files, name); err == nil {
				err = os.WriteFile(target, data, 0o644)
			}
		}
		if err != nil {
			return fmt.Errorf("write the demo's %s into %q: %w", name, dir, err)
		}
		return nil
	})
}

// MissingNode and EditedBucket name what [Meddle] works on: toy_node.node["web-2"] in the workspace cluster, and
// toy_bucket.bucket["logs"] in the workspace storage.
const (
	MissingNode  = "web-2"
	EditedBucket = "logs"
)

// Meddle deletes a node and edits a bucket behind Git's back, in a cloud to which [Base] was applied. It returns what
// it did, one sentence each.
func Meddle(cloud *toycloud.Server) ([]string, error) {
	if err := cloud.Delete(toycloud.Nodes, MissingNode); err != nil {
		return nil, fmt.Errorf("meddle with the demo's cloud: %w", err)
	}
	err := cloud.EditBucket(EditedBucket, func(b *toycloud.Bucket) {
		b.Versioning = false
		if b.Tags == nil {
			b.Tags = map[string]string{}
		}
		b.Tags["note"] = "switched-off-to-save-money"
	})
	if err != nil {
		return nil, fmt.Errorf("meddle with the demo's cloud: %w", err)
	}
	return []string{
		fmt.Sprintf("Somebody deletes the node %s.", MissingNode),
		fmt.Sprintf("Somebody switches the versioning of the bucket %s off and adds a tag.", EditedBucket),
	}, nil
}
