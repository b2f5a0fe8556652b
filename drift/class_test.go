package drift_test

import (
	"testing"

	tfjson "github.com/hashicorp/terraform-json"

	"github.com/plumbline-dev/plumbline/drift"
)

// classOf finds the class of a resource that is to be created with the values given.
func classOf(t *testing.T, resourceType string, values map[string]any, settings map[string]drift.Class) drift.Class {
	t.Helper()
	plan := &tfjson.Plan{ResourceChanges: []*tfjson.ResourceChange{{
		Address: resourceType + ".x", Mode: tfjson.ManagedResourceMode, Type: resourceType, Name: "x",
		Change: &tfjson.Change{Actions: tfjson.Actions{tfjson.ActionCreate}, After: values},
	}}}
	findings := drift.Find(drift.Input{Plan: plan, Classes: settings})
	if len(findings) != 1 {
		t.Fatalf("%d findings", len(findings))
	}
	return findings[0].Class
}

func TestClassOfType(t *testing.T) {
	for resourceType, want := range map[string]drift.Class{
		"aws_eks_cluster": drift.ClassCluster, "aws_eks_node_group": drift.ClassNode, "aws_instance": drift.ClassNode,
		"aws_autoscaling_group": drift.ClassNode, "aws_ecs_cluster": drift.ClassCluster, "aws_ecs_service": drift.ClassResource,
		"aws_rds_cluster": drift.ClassResource, "aws_s3_bucket": drift.ClassResource,
		"google_container_cluster": drift.ClassCluster, "google_container_node_pool": drift.ClassNode,
		"google_compute_instance": drift.ClassNode, "google_compute_instance_iam": drift.ClassResource,
		"azurerm_kubernetes_cluster": drift.ClassCluster, "azurerm_kubernetes_cluster_node_pool": drift.ClassNode,
		"azurerm_linux_virtual_machine": drift.ClassNode, "azurerm_kubernetes_cluster_extension": drift.ClassResource,
		"azurerm_data_protection_backup_instance_kubernetes_cluster": drift.ClassResource,
		"digitalocean_kubernetes_cluster":                            drift.ClassCluster, "digitalocean_droplet": drift.ClassNode,
		"digitalocean_database_cluster": drift.ClassResource, "hcloud_server": drift.ClassNode, "hcloud_network": drift.ClassResource,
		"openstack_containerinfra_cluster_v1": drift.ClassCluster, "openstack_compute_instance_v2": drift.ClassNode,
		"vsphere_compute_cluster": drift.ClassCluster, "vsphere_virtual_machine": drift.ClassNode,
		"proxmox_virtual_environment_vm": drift.ClassNode, "proxmox_vm_qemu": drift.ClassNode,
		"kubernetes_node_taint": drift.ClassNode, "kubernetes_deployment_v1": drift.ClassResource,
		"toy_cluster": drift.ClassCluster, "toy_node": drift.ClassNode, "toy_bucket": drift.ClassResource,
		// Beyond the table.
		"civo_kubernetes_node_pool": drift.ClassNode, "ovh_cloud_project_kube_nodepool": drift.ClassNode,
		"civo_kubernetes_cluster": drift.ClassCluster, "something_else": drift.ClassResource,
	} {
		if got := classOf(t, resourceType, nil, nil); got != want {
			t.Errorf("%s: got %s, want %s", resourceType, got, want)
		}
	}
}

func TestClassOfManifest(t *testing.T) {
	manifest := func(apiVersion, kind string) map[string]any {
		return map[string]any{"manifest": map[string]any{"apiVersion": apiVersion, "kind": kind}}
	}
	for _, c := range []struct {
		resourceType string
		values       map[string]any
		want         drift.Class
	}{
		{"kubernetes_manifest", manifest("v1", "Node"), drift.ClassNode},
		{"kubernetes_manifest", manifest("v1", "Namespace"), drift.ClassResource},
		{"kubernetes_manifest", manifest("example.com/v1", "Node"), drift.ClassResource},
		{"kubernetes_manifest", manifest("postgresql.cnpg.io/v1", "Cluster"), drift.ClassResource},
		{"kubernetes_manifest", manifest("cluster.x-k8s.io/v1beta1", "Cluster"), drift.ClassCluster},
		{"kubernetes_manifest", manifest("cluster.x-k8s.io/v1beta1", "ClusterClass"), drift.ClassResource},
		{"kubernetes_manifest", manifest("cluster.x-k8s.io/v1beta1", "MachineDeployment"), drift.ClassNode},
		{"kubernetes_manifest", manifest("cluster.x-k8s.io/v1beta1", "MachineHealthCheck"), drift.ClassResource},
		{"kubernetes_manifest", manifest("infrastructure.cluster.x-k8s.io/v1beta2", "AWSCluster"), drift.ClassCluster},
		{"kubernetes_manifest", manifest("infrastructure.cluster.x-k8s.io/v1beta2", "AWSMachineTemplate"), drift.ClassResource},
		{"kubernetes_manifest", manifest("controlplane.cluster.x-k8s.io/v1beta1", "KubeadmControlPlane"), drift.ClassCluster},
		{"kubernetes_manifest", manifest("karpenter.sh/v1", "NodePool"), drift.ClassNode},
		{"kubernetes_manifest", manifest("machine.openshift.io/v1beta1", "MachineSet"), drift.ClassNode},
		{"kubernetes_manifest", manifest("core.gardener.cloud/v1beta1", "Shoot"), drift.ClassCluster},
		{"kubernetes_manifest", map[string]any{"manifest": "odd"}, drift.ClassResource},
		{"kubernetes_labels", map[string]any{"api_version": "v1", "kind": "Node"}, drift.ClassNode},
		{"kubectl_manifest", map[string]any{"api_version": "v1", "kind": "Node"}, drift.ClassNode},
		{"kubectl_manifest", map[string]any{"yaml_body": "apiVersion: v1\nkind: Node\nmetadata: {name: n}\n"}, drift.ClassNode},
		{"kubectl_manifest", map[string]any{"yaml_body": "apiVersion: [broken"}, drift.ClassResource},
		{"kubectl_manifest", nil, drift.ClassResource},
	} {
		if got := classOf(t, c.resourceType, c.values, nil); got != c.want {
			t.Errorf("%s %v: got %s, want %s", c.resourceType, c.values, got, c.want)
		}
	}
}

func TestClassesOfSettings(t *testing.T) {
	settings := map[string]drift.Class{
		"*": drift.ClassNode, "aws_*": drift.ClassResource, "aws_rds_*": drift.ClassCluster, "aws_instance": drift.ClassCluster,
	}
	for resourceType, want := range map[string]drift.Class{
		"aws_instance":        drift.ClassCluster,
		"aws_eks_cluster":     drift.ClassResource,
		"aws_rds_cluster":     drift.ClassCluster,
		"other_thing":         drift.ClassNode,
		"aws_rds_":            drift.ClassCluster,
		"kubernetes_manifest": drift.ClassNode,
	} {
		if got := classOf(t, resourceType, map[string]any{"manifest": map[string]any{"kind": "Pod"}}, settings); got != want {
			t.Errorf("%s: got %s, want %s", resourceType, got, want)
		}
	}
}
