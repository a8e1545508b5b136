#include <polyrank/bindings/python_caller.h>
#include <pybind11/pybind11.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace polyrank {

namespace py = pybind11;

namespace {

// Where torch lies on this machine.
struct TorchFiles {
  std::string folder;  // with the separator at its end
  std::string package;
  std::string sym_node;
};

TorchFiles find_torch_files() {
  const auto package = py::module_::import("torch").attr("__file__").cast<std::string>();
  const std::string folder = package.substr(0, package.find_last_of('/') + 1);
  return {folder, package, folder + "fx/experimental/sym_node.py"};
}

const TorchFiles& torch_files() {
  static const TorchFiles* const files = new TorchFiles(find_torch_files());  // outlives threads
  return *files;
}

// Parts of torch that act by the rank that they ask for, as a program does.
struct ActingFiles {
  std::vector<std::string> acting;  // folders and files
  std::vector<std::string> omit;    // of these
  std::vector<std::string> keep;    // of the exceptions
};

ActingFiles& acting_files() {
  static auto* const files = new ActingFiles();  // outlives threads
  return *files;
}

bool acts_for_program(const std::string& file) {
  const auto is_in = [&](const std::vector<std::string>& places) {
    return std::ranges::any_of(places,
                               [&](const std::string& place) { return file.starts_with(place); });
  };
  const ActingFiles& files = acting_files();
  return is_in(files.keep) || (is_in(files.acting) && !is_in(files.omit));
}

py::object as_object(void* new_reference) {
  return py::reinterpret_steal<py::object>(static_cast<PyObject*>(new_reference));
}

py::object caller_of(const py::object& frame) {
  return as_object(PyFrame_GetBack(reinterpret_cast<PyFrameObject*>(frame.ptr())));
}

std::string file_of(const py::object& frame) {
  const py::object code = as_object(PyFrame_GetCode(reinterpret_cast<PyFrameObject*>(frame.ptr())));
  return code.attr("co_filename").cast<std::string>();
}

bool belongs_to_torch(const py::object& frame) {
  const std::string file = file_of(frame);
  if (!file.starts_with('<')) {
    return file.starts_with(torch_files().folder) && !acts_for_program(file);
  }
  const py::dict globals = frame.attr("f_globals");
  if (!globals.contains("__name__") || !py::isinstance<py::str>(globals["__name__"])) {
    return false;
  }
  const auto module = globals["__name__"].cast<std::string>();
  return module == "torch" || module.starts_with("torch.");
}

}  // namespace

void set_acting_files(std::vector<std::string> acting, std::vector<std::string> omit,
                      std::vector<std::string> keep) {
  acting_files() = {std::move(acting), std::move(omit), std::move(keep)};
}

NumberCaller python_caller() {
  if (Py_IsInitialized() == 0 || PyGILState_GetThisThreadState() == nullptr) {
    return NumberCaller::kTorch;
  }
  const py::gil_scoped_acquire gil;
  const py::error_scope pending;  // reading frames must neither see nor lose an error
  py::object frame = as_object(PyThreadState_GetFrame(PyThreadState_Get()));
  const TorchFiles& torch = torch_files();
  if (!frame || file_of(frame) != torch.sym_node) {
    return NumberCaller::kTorch;
  }
  while (frame) {
    const std::string file = file_of(frame);
    if (file != torch.sym_node && file != torch.package) {
      return belongs_to_torch(frame) ? NumberCaller::kTorch : NumberCaller::kUser;
    }
    frame = caller_of(frame);
  }
  return NumberCaller::kTorch;
}

}  // namespace polyrank
