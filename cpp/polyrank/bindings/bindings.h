// The parts of the `_C` module, one function per source file of this folder.
#pragma once

#include <pybind11/pybind11.h>

namespace polyrank {

void init_core(pybind11::module_& module);
void init_errors(pybind11::module_& module);
void init_exchanged_function(pybind11::module_& module);
void init_guarded_text(pybind11::module_& module);
void init_local_int_node(pybind11::module_& module);
void init_device_class(pybind11::module_& module);
void init_local_tensor(pybind11::module_& module);
void init_lockstep_mode(pybind11::module_& module);
void init_collective(pybind11::module_& module);
void init_fake_world(pybind11::module_& module);
void init_dist2(pybind11::module_& module);
void init_name_switch(pybind11::module_& module);
void init_threads_world(pybind11::module_& module);
void init_processes_world(pybind11::module_& module);
void init_launch_observer(pybind11::module_& module);
void init_trace(pybind11::module_& module);
void init_collective_op(pybind11::module_& module);
void init_allocator(pybind11::module_& module);
void init_virtual_gpu(pybind11::module_& module);
void init_gpu_timeline(pybind11::module_& module);
void init_joint_replay(pybind11::module_& module);

}  // namespace polyrank
