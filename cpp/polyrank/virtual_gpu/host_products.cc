#include <ATen/core/Tensor.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/baddbmm.h>
#include <ATen/ops/bmm.h>
#include <ATen/ops/mm.h>
#include <c10/util/Exception.h>
#include <polyrank/virtual_gpu/host_kernel_table.h>

namespace polyrank {

namespace {

using at::Scalar;
using at::Tensor;

// Each product of two such numbers is exact in the wide dtype, in which a GPU adds them, too.
// Throws: c10::Error, as ATen's cuda/Blas.cpp.
Tensor widened(const Tensor& operand, at::ScalarType out_dtype) {
  const at::ScalarType own = operand.scalar_type();
  TORCH_CHECK(
      own == out_dtype || (out_dtype == at::kFloat && (own == at::kHalf || own == at::kBFloat16)),
      "out_dtype must be the same as input dtype or fp32 for fp16/bf16 inputs");
  return operand.to(out_dtype);
}

Tensor mm(const Tensor& self, const Tensor& mat2, at::ScalarType dtype) {
  return at::mm(widened(self, dtype), widened(mat2, dtype));
}

Tensor& mm_out(const Tensor& self, const Tensor& mat2, at::ScalarType dtype, Tensor& out) {
  return at::mm_out(out, widened(self, dtype), widened(mat2, dtype));
}

Tensor bmm(const Tensor& self, const Tensor& mat2, at::ScalarType dtype) {
  return at::bmm(widened(self, dtype), widened(mat2, dtype));
}

Tensor& bmm_out(const Tensor& self, const Tensor& mat2, at::ScalarType dtype, Tensor& out) {
  return at::bmm_out(out, widened(self, dtype), widened(mat2, dtype));
}

Tensor addmm(const Tensor& self, const Tensor& mat1, const Tensor& mat2, at::ScalarType dtype,
             const Scalar& beta, const Scalar& alpha) {
  return at::addmm(widened(self, dtype), widened(mat1, dtype), widened(mat2, dtype), beta, alpha);
}

Tensor& addmm_out(const Tensor& self, const Tensor& mat1, const Tensor& mat2, at::ScalarType dtype,
                  const Scalar& beta, const Scalar& alpha, Tensor& out) {
  return at::addmm_out(out, widened(self, dtype), widened(mat1, dtype), widened(mat2, dtype), beta,
                       alpha);
}

Tensor baddbmm(const Tensor& self, const Tensor& batch1, const Tensor& batch2, at::ScalarType dtype,
               const Scalar& beta, const Scalar& alpha) {
  return at::baddbmm(widened(self, dtype), widened(batch1, dtype), widened(batch2, dtype), beta,
                     alpha);
}

Tensor& baddbmm_out(const Tensor& self, const Tensor& batch1, const Tensor& batch2,
                    at::ScalarType dtype, const Scalar& beta, const Scalar& alpha, Tensor& out) {
  return at::baddbmm_out(out, widened(self, dtype), widened(batch1, dtype), widened(batch2, dtype),
                         beta, alpha);
}

}  // namespace

HostKernels host_products() {
  return {{{"aten::mm", "dtype"}, host_kernel<&mm>()},
          {{"aten::mm", "dtype_out"}, host_kernel<&mm_out>()},
          {{"aten::bmm", "dtype"}, host_kernel<&bmm>()},
          {{"aten::bmm", "dtype_out"}, host_kernel<&bmm_out>()},
          {{"aten::addmm", "dtype"}, host_kernel<&addmm>()},
          {{"aten::addmm", "dtype_out"}, host_kernel<&addmm_out>()},
          {{"aten::baddbmm", "dtype"}, host_kernel<&baddbmm>()},
          {{"aten::baddbmm", "dtype_out"}, host_kernel<&baddbmm_out>()}};
}

}  // namespace polyrank
