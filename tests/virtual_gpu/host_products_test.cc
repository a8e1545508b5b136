#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "virtual_gpu/on.h"

namespace polyrank {
namespace {

at::Tensor some(at::IntArrayRef sizes) { return at::randn(sizes).to(at::kBFloat16); }

TEST(HostProducts, ProductsOfNarrowNumbersMayBeWide) {
  const VirtualGpusOn on;
  const at::Tensor a = some({3, 5});
  const at::Tensor b = some({5, 2});
  const at::Tensor c = at::randn({3, 2});
  const at::Tensor product = at::mm(a.to(at::kFloat), b.to(at::kFloat));
  EXPECT_TRUE(at::equal(at::mm(gpu(a), gpu(b), at::kFloat).cpu(), product));
  at::Tensor out = at::empty({3, 2}, on_gpu());
  at::mm_out(out, gpu(a), gpu(b), at::kFloat);
  EXPECT_TRUE(at::equal(out.cpu(), product));
  const at::Tensor sum = at::addmm(c, a.to(at::kFloat), b.to(at::kFloat), 2, 3);
  EXPECT_TRUE(at::equal(at::addmm(gpu(c), gpu(a), gpu(b), at::kFloat, 2, 3).cpu(), sum));
  at::addmm_out(out, gpu(c), gpu(a), gpu(b), at::kFloat, 2, 3);
  EXPECT_TRUE(at::equal(out.cpu(), sum));
}

TEST(HostProducts, OfBatchesToo) {
  const VirtualGpusOn on;
  const at::Tensor a = some({2, 3, 5});
  const at::Tensor b = some({2, 5, 2});
  const at::Tensor c = at::randn({2, 3, 2});
  const at::Tensor product = at::bmm(a.to(at::kFloat), b.to(at::kFloat));
  EXPECT_TRUE(at::equal(at::bmm(gpu(a), gpu(b), at::kFloat).cpu(), product));
  at::Tensor out = at::empty({2, 3, 2}, on_gpu());
  at::bmm_out(out, gpu(a), gpu(b), at::kFloat);
  EXPECT_TRUE(at::equal(out.cpu(), product));
  const at::Tensor sum = at::baddbmm(c, a.to(at::kFloat), b.to(at::kFloat), 2, 3);
  EXPECT_TRUE(at::equal(at::baddbmm(gpu(c), gpu(a), gpu(b), at::kFloat, 2, 3).cpu(), sum));
  at::baddbmm_out(out, gpu(c), gpu(a), gpu(b), at::kFloat, 2, 3);
  EXPECT_TRUE(at::equal(out.cpu(), sum));
}

TEST(HostProducts, OtherDtypesAreRefusedAsByCuda) {
  const VirtualGpusOn on;
  const at::Tensor x = at::ones({2, 2}, on_gpu());
  EXPECT_ANY_THROW(at::mm(x, x, at::kDouble));
}

}  // namespace
}  // namespace polyrank
