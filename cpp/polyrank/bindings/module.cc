#include <polyrank/bindings/bindings.h>

PYBIND11_MODULE(_C, module) {
  module.doc() = "The C++ core of polyrank; use it through the package `polyrank`.";
  pybind11::module_::import("torch");  // registers the types that ours derive from
  polyrank::init_errors(module);
  polyrank::init_core(module);
  polyrank::init_exchanged_function(module);
  polyrank::init_name_switch(module);
  polyrank::init_guarded_text(module);
  polyrank::init_local_int_node(module);
  polyrank::init_device_class(module);
  polyrank::init_local_tensor(module);
  polyrank::init_lockstep_mode(module);
  polyrank::init_collective(module);
  polyrank::init_fake_world(module);
  polyrank::init_threads_world(module);
  polyrank::init_processes_world(module);
  polyrank::init_dist2(module);
  polyrank::init_launch_observer(module);
  polyrank::init_trace(module);
  polyrank::init_collective_op(module);
  polyrank::init_allocator(module);
  polyrank::init_virtual_gpu(module);
  polyrank::init_gpu_timeline(module);
  polyrank::init_joint_replay(module);
}
