package drift

import (
	"strings"

	tfjson "github.com/hashicorp/terraform-json"
	"go.yaml.in/yaml/v3"
)

// Class says how much hangs on a resource, so that a policy can be strict where a mistake is dear.
type Class string

// The classes.
const (
	// ClassCluster is what other things run in: a Kubernetes or ECS cluster, a vSphere compute cluster, a Spark cluster.
	ClassCluster Class = "cluster"
	// ClassNode is what things run on: a virtual or physical machine, or a group that makes them (node pool, node group,
	// autoscaling group, scale set).
	ClassNode Class = "node"
	// ClassResource is everything else.
	ClassResource Class = "resource"
)

// classOfType is the class of a resource by its type. Every name in it is a resource in the documentation of its provider.
// Databases that call themselves clusters are not in it: they hold data and run nothing of their owner's; plumbline.yaml
// can class them.
func classOfType(resourceType string) Class {
	switch resourceType {
	// hashicorp/aws
	case "aws_ecs_cluster", "aws_eks_cluster", "aws_emr_cluster":
		return ClassCluster
	case "aws_autoscaling_group", "aws_ec2_fleet", "aws_ec2_host", "aws_ecs_capacity_provider", "aws_eks_fargate_profile",
		"aws_eks_node_group", "aws_emr_instance_fleet", "aws_emr_instance_group", "aws_instance", "aws_lightsail_instance",
		"aws_spot_fleet_request", "aws_spot_instance_request":
		return ClassNode

	// hashicorp/google and hashicorp/google-beta
	case "google_container_attached_cluster", "google_container_aws_cluster", "google_container_azure_cluster",
		"google_container_cluster", "google_dataproc_cluster", "google_edgecontainer_cluster",
		"google_gkeonprem_bare_metal_admin_cluster", "google_gkeonprem_bare_metal_cluster",
		"google_gkeonprem_vmware_admin_cluster", "google_gkeonprem_vmware_cluster", "google_hypercomputecluster_cluster",
		"google_vmwareengine_cluster", "google_workstations_workstation_cluster":
		return ClassCluster
	case "google_compute_instance", "google_compute_instance_from_machine_image", "google_compute_instance_from_template",
		"google_compute_instance_group", "google_compute_instance_group_manager", "google_compute_node_group",
		"google_compute_region_instance_group_manager", "google_container_aws_node_pool", "google_container_azure_node_pool",
		"google_container_node_pool", "google_edgecontainer_node_pool", "google_gkeonprem_bare_metal_node_pool",
		"google_gkeonprem_vmware_node_pool", "google_tpu_v2_vm":
		return ClassNode

	// hashicorp/azurerm
	case "azurerm_arc_kubernetes_cluster", "azurerm_arc_kubernetes_provisioned_cluster",
		"azurerm_hdinsight_hadoop_cluster",            //nolint:misspell // the product is called HDInsight
		"azurerm_hdinsight_hbase_cluster",             //nolint:misspell // likewise
		"azurerm_hdinsight_interactive_query_cluster", //nolint:misspell // likewise
		"azurerm_hdinsight_kafka_cluster",             //nolint:misspell // likewise
		"azurerm_hdinsight_spark_cluster",             //nolint:misspell // likewise
		"azurerm_kubernetes_automatic_cluster", "azurerm_kubernetes_cluster", "azurerm_redhat_openshift_cluster",
		"azurerm_service_fabric_cluster", "azurerm_service_fabric_managed_cluster", "azurerm_stack_hci_cluster",
		"azurerm_vmware_cluster":
		return ClassCluster
	case "azurerm_arc_machine", "azurerm_batch_pool", "azurerm_kubernetes_cluster_node_pool", "azurerm_linux_virtual_machine",
		"azurerm_linux_virtual_machine_scale_set", "azurerm_orchestrated_virtual_machine_scale_set",
		"azurerm_system_center_virtual_machine_manager_virtual_machine_instance", "azurerm_virtual_machine",
		"azurerm_virtual_machine_scale_set", "azurerm_windows_virtual_machine", "azurerm_windows_virtual_machine_scale_set":
		return ClassNode
	case "azurerm_data_protection_backup_instance_kubernetes_cluster",
		"azurerm_data_protection_backup_policy_kubernetes_cluster":
		return ClassResource // or their ending would make clusters of them

	// hashicorp/kubernetes; its manifests are classed by kind
	case "kubernetes_node_taint":
		return ClassNode

	// digitalocean/digitalocean
	case "digitalocean_kubernetes_cluster":
		return ClassCluster
	case "digitalocean_droplet", "digitalocean_droplet_autoscale", "digitalocean_kubernetes_node_pool":
		return ClassNode

	// hetznercloud/hcloud
	case "hcloud_server":
		return ClassNode

	// terraform-provider-openstack/openstack
	case "openstack_containerinfra_cluster_v1":
		return ClassCluster
	case "openstack_compute_instance_v2", "openstack_containerinfra_nodegroup_v1":
		return ClassNode

	// vmware/vsphere
	case "vsphere_compute_cluster", "vsphere_supervisor", "vsphere_supervisor_v2":
		return ClassCluster
	case "vsphere_host", "vsphere_virtual_machine":
		return ClassNode

	// bpg/proxmox
	case "proxmox_cloned_vm", "proxmox_virtual_environment_cloned_vm", "proxmox_virtual_environment_container",
		"proxmox_virtual_environment_vm", "proxmox_virtual_environment_vm2", "proxmox_vm":
		return ClassNode

	// Telmate/proxmox
	case "proxmox_lxc", "proxmox_lxc_guest", "proxmox_vm_qemu":
		return ClassNode

	// plumbline-dev/toy, the cloud of `plumbline demo`
	case "toy_cluster":
		return ClassCluster
	case "toy_node":
		return ClassNode
	}
	// Providers beyond the table mostly follow these forms.
	for _, ending := range []string{"_node_pool", "_nodepool", "_node_group", "_nodegroup"} {
		if strings.HasSuffix(resourceType, ending) {
			return ClassNode
		}
	}
	for _, ending := range []string{"_kubernetes_cluster", "_k8s_cluster"} {
		if strings.HasSuffix(resourceType, ending) {
			return ClassCluster
		}
	}
	return ClassResource
}

// classOf is the class of one changed resource: what plumbline.yaml says of its type, else the table, else its kind if it
// is a Kubernetes manifest. An exact type in plumbline.yaml wins over a pattern, and a longer pattern over a shorter one.
func classOf(rc *tfjson.ResourceChange, settings map[string]Class) Class {
	best, found := "", false
	for pattern := range settings {
		if pattern == rc.Type {
			return settings[pattern]
		}
		longer := len(pattern) > len(best) || len(pattern) == len(best) && pattern < best
		if matches(pattern, rc.Type) && (!found || longer) {
			best, found = pattern, true
		}
	}
	if found {
		return settings[best]
	}
	if class, ok := classOfManifest(rc); ok {
		return class
	}
	return classOfType(rc.Type)
}

// classOfManifest is the class of a resource that holds any kind of Kubernetes object.
func classOfManifest(rc *tfjson.ResourceChange) (Class, bool) {
	if rc.Change == nil {
		return "", false
	}
	for _, value := range []any{rc.Change.After, rc.Change.Before} {
		attributes, ok := value.(map[string]any)
		if !ok {
			continue
		}
		switch rc.Type {
		case "kubernetes_manifest": // hashicorp/kubernetes
			if manifest, ok := attributes["manifest"].(map[string]any); ok {
				return classOfKind(text(manifest["apiVersion"]), text(manifest["kind"])), true
			}
		case "kubernetes_labels", "kubernetes_annotations": // hashicorp/kubernetes: they patch an object of any kind
			return classOfKind(text(attributes["api_version"]), text(attributes["kind"])), true
		case "kubectl_manifest": // gavinbunney/kubectl and alekc/kubectl; kind is not known before the first apply
			if kind := text(attributes["kind"]); kind != "" {
				return classOfKind(text(attributes["api_version"]), kind), true
			}
			var manifest struct {
				APIVersion string `yaml:"apiVersion"`
				Kind       string `yaml:"kind"`
			}
			if body := text(attributes["yaml_body"]); body != "" && yaml.Unmarshal([]byte(body), &manifest) == nil {
				return classOfKind(manifest.APIVersion, manifest.Kind), true
			}
		}
	}
	return "", false
}

// classOfKind is the class of a Kubernetes object. The group matters: many operators call a database a Cluster.
func classOfKind(apiVersion, kind string) Class {
	group, _, grouped := strings.Cut(apiVersion, "/")
	if !grouped {
		group = "" // the core group: "v1"
	}
	switch {
	case group == "" && kind == "Node",
		group == "karpenter.sh" && (kind == "NodePool" || kind == "NodeClaim"),
		group == "machine.openshift.io" && (kind == "Machine" || kind == "MachineSet"):
		return ClassNode
	case group == "provisioning.cattle.io" && kind == "Cluster",
		group == "hive.openshift.io" && kind == "ClusterDeployment",
		group == "core.gardener.cloud" && kind == "Shoot":
		return ClassCluster
	case group == "cluster.x-k8s.io" || strings.HasSuffix(group, ".cluster.x-k8s.io"):
		// Cluster API: Cluster, AWSCluster, KubeadmControlPlane; Machine, MachinePool, AzureManagedMachinePool.
		switch {
		case strings.HasSuffix(kind, "Template"), strings.HasSuffix(kind, "Class"):
			return ClassResource
		case strings.HasSuffix(kind, "Cluster"), strings.HasSuffix(kind, "ControlPlane"):
			return ClassCluster
		case strings.Contains(kind, "Machine") && !strings.Contains(kind, "HealthCheck"):
			return ClassNode
		}
	}
	return ClassResource
}

// text is a value if it is a string, else "".
func text(value any) string {
	s, _ := value.(string)
	return s
}
